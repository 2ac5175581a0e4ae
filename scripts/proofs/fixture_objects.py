"""The objects of the test projects, made through the classes of any QuPath from 0.2 on."""

from __future__ import annotations

import contextlib
import math
from typing import Any

NAMESPACE = "qupath-hccmil/fixtures"
TUMOUR = ([100.25, 700.5, 690, 420.125, 90], [80, 96.75, 600, 640.5, 590])


class Builder:
    """Makes QuPath's objects.

    Parameters
    ----------
    version : (int, int)
        Of the QuPath that runs.
    """

    def __init__(self, version: tuple[int, ...]) -> None:
        from jpype import JClass

        self.java = JClass
        self.version = version
        self.rois = JClass("qupath.lib.roi.ROIs")
        self.make = JClass("qupath.lib.objects.PathObjects")
        self.planes_of = JClass("qupath.lib.regions.ImagePlane")
        self.plane = self.planes_of.getDefaultPlane()

    # what differs from version to version

    def path_class(self, name: str, rgb: int | None = None) -> Any:
        """Class of a full name; ``None`` leaves the colour to QuPath."""
        integer = self.java("java.lang.Integer")
        # a null of a type: it chooses among overloads
        colour = self._null(integer) if rgb is None else integer(rgb - (1 << 24))
        if self.version >= (0, 4):
            return self.java("qupath.lib.objects.classes.PathClass").fromString(name, colour)
        return self.java("qupath.lib.objects.classes.PathClassFactory").getPathClass(name, colour)

    @staticmethod
    def _null(kind: Any) -> Any:
        import jpype

        return jpype.JObject(None, kind)

    def child(self, parent: Any, child: Any) -> Any:
        """Put an object under another, without QuPath's sorting by place."""
        (parent.addChildObject if self.version >= (0, 4) else parent.addPathObject)(child)
        return child

    def colour(self, path_object: Any, rgb: int) -> None:
        """Give an object a colour of its own."""
        packed = self.java("java.lang.Integer")(rgb - (1 << 24))
        (path_object.setColor if self.version >= (0, 4) else path_object.setColorRGB)(packed)

    def measured(self, kind: str, values: dict[str, float]) -> Any:
        """A measurement list: FLOAT, DOUBLE or GENERAL."""
        kinds = self.java("qupath.lib.measurements.MeasurementList$MeasurementListType")
        made = self.java("qupath.lib.measurements.MeasurementListFactory").createMeasurementList(
            len(values), getattr(kinds, kind)
        )
        self.put(made, values)
        made.close()
        return made

    def put(self, measurements: Any, values: dict[str, float]) -> None:
        """Set measurements."""
        put = measurements.put if self.version >= (0, 4) else measurements.putMeasurement
        for name, value in values.items():
            put(name, value)

    def fix_ids(self, root: Any, image: str) -> None:
        """Give every object the same UUID each time; QuPath before 0.4 has none."""
        if self.version < (0, 4):
            return
        uuids, strings = self.java("java.util.UUID"), self.java("java.lang.String")
        for number, each in enumerate([root, *root.getDescendantObjects(None)]):
            each.setID(uuids.nameUUIDFromBytes(strings(f"{NAMESPACE}/{image}/{number}").getBytes()))

    def project_classes(self) -> Any:
        """Class list of the project."""
        classes = self.java("java.util.ArrayList")()
        for name, rgb in (("Tumor", 0xC80000), ("Stroma", 0x96C896), ("肝 🧬", 0x123456)):
            classes.add(self.path_class(name, rgb))
        return classes

    # regions

    def polygon(self, xs: list[float], ys: list[float], plane: Any = None) -> Any:
        """Polygon of corners, level-0 px."""
        from jpype import JArray, JDouble

        arrays = (JArray(JDouble)(xs), JArray(JDouble)(ys))
        return self.rois.createPolygonROI(*arrays, plane or self.plane)

    def box(self, x: float, y: float, w: float, h: float, plane: Any = None) -> Any:
        """Rectangle, level-0 px."""
        return self.rois.createRectangleROI(x, y, w, h, plane or self.plane)

    def disc(self, x: float, y: float, w: float, h: float) -> Any:
        """Ellipse in a rectangle, level-0 px."""
        return self.rois.createEllipseROI(x, y, w, h, self.plane)

    def dots(self, xs: list[float], ys: list[float]) -> Any:
        """Points, level-0 px."""
        from jpype import JArray, JDouble

        return self.rois.createPointsROI(JArray(JDouble)(xs), JArray(JDouble)(ys), self.plane)

    def track(self, xs: list[float], ys: list[float]) -> Any:
        """Open line of several points, level-0 px."""
        from jpype import JArray, JDouble

        return self.rois.createPolylineROI(JArray(JDouble)(xs), JArray(JDouble)(ys), self.plane)

    def geometry(self, wkt: str) -> Any:
        """Region of a WKT."""
        shape = self.java("org.locationtech.jts.io.WKTReader")().read(wkt)
        return self.java("qupath.lib.roi.GeometryTools").geometryToROI(shape, self.plane)

    # images

    def one_tumour(self, data: Any, hierarchy: Any) -> None:
        """One outline with a few cells."""
        root = hierarchy.getRootObject()
        tumour = self.make.createAnnotationObject(
            self.polygon([40, 260, 250, 50], [30, 40, 290, 280]), self.path_class("Tumor", 0xC80000)
        )
        self.child(root, tumour)
        for number in range(3):
            self.child(tumour, self._cell(60 + 40 * number, 70, number))

    def every_object(self, data: Any, hierarchy: Any) -> None:
        """Every kind of object and region, nested, with all that can be set on them."""
        root = hierarchy.getRootObject()
        annotate = self.make.createAnnotationObject
        tumour = annotate(self.polygon(*TUMOUR), self.path_class("Tumor", 0xC80000))
        tumour.setName("Tumor ①: 肝細胞癌 🧬\nсекция\tסרטן e\u0301")
        tumour.setLocked(True)
        self.colour(tumour, 0x12AB34)
        self._add_metadata(tumour, {"Pathologist": "Müller 🩺", "": "empty key", "note": ""})
        self.put(tumour.getMeasurementList(), {"Area µm²": 12345.678901234, "nan": math.nan})
        self.child(root, tumour)
        region = self.child(
            tumour, annotate(self.box(150.5, 150, 200, 120.25), self.path_class("Region*"))
        )
        self.child(
            region, annotate(self.disc(160, 160, 90, 55.5), self.path_class("肝 🧬", 0x123456))
        )
        for number in range(6):
            self.child(tumour, self._cell(200 + 30 * number, 300, number))
        self._detections(tumour)
        self._regions(root)
        self.put(root.getMeasurementList(), {"Slide area": 3.25e9, "inf": math.inf})
        self._history(data)

    def _cell(self, x: float, y: float, number: int) -> Any:
        outline = self.polygon([x, x + 20, x + 24, x + 3], [y, y - 2, y + 18, y + 21])
        nucleus = self.disc(x + 5, y + 4, 9, 8) if number % 2 == 0 else None
        values = {"Cell: Area": 401.5 + number, "Nucleus: Area": math.nan, "b": -0.0, "c": 1e-42}
        kind = ("FLOAT", "DOUBLE", "GENERAL")[number % 3]
        name = (None, "Tumor: Positive", "Immune cells")[number % 3]
        path_class = self.path_class(name) if name else None
        return self.make.createCellObject(outline, nucleus, path_class, self.measured(kind, values))

    def _detections(self, parent: Any) -> None:
        """Detections with lists that are dense, have other names, are empty or are absent."""
        strange = {
            "inf": math.inf,
            "-inf": -math.inf,
            "nan": math.nan,
            "tiny": 5e-324,
            "π": math.pi,
        }
        for number, values in enumerate(({"a": 1.0}, strange, {"a": 2.5}, {})):
            roi = self.box(300 + 25 * number, 400, 20.5, 20)
            made = self.make.createDetectionObject(
                roi, self.path_class("Other"), self.measured("DOUBLE", values)
            )
            made.setName(f"detection {number}")
            self.child(parent, made)
        self.child(parent, self.make.createDetectionObject(self.dots([301, 305], [460, 462])))
        for number in range(3):
            tile = self.make.createTileObject(
                self.box(400 + 64 * number, 500, 64, 64),
                self.path_class("Tumor: 1+") if number else None,
                self.measured("FLOAT", {"Texture: Entropy": 0.1 * number}),
            )
            self.child(parent, tile)

    def _regions(self, root: Any) -> None:
        """Annotations with each kind of region."""
        holed = "((710 20,900 20,900 200,710 200,710 20),(750 60,750 120,800 120,750 60))"
        regions = {
            "multipolygon": self.geometry(
                f"MULTIPOLYGON({holed},((920 20,1000 20,1000 90,920 20)))"
            ),
            "holed": self.geometry(f"POLYGON{holed}"),
            "line": self.rois.createLineROI(10, 700, 300.5, 730.25, self.plane),
            "polyline": self.track([10, 60, 110.5], [650, 690, 655.125]),
            "points": self.dots([700, 710.5, 720], [300, 310, 305.25]),
            "one point": self.dots([730], [300]),
            "ellipse": self.disc(720, 350, 130.5, 60),
            "rectangle": self.box(720, 450, 130.5, 60),
            "outside": self.box(-30, -20, 60, 50),
            "empty": self.rois.createEmptyROI(),
        }
        classes = ("Tumor: Positive: 2+", "Tumor", None, "Ignore*", "Stroma")
        for number, (name, roi) in enumerate(regions.items()):
            chosen = classes[number % len(classes)]
            made = self.make.createAnnotationObject(
                roi, self.path_class(chosen) if chosen else None
            )
            made.setName(name)
            self.child(root, made)

    def _history(self, data: Any) -> None:
        steps = self.java("qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep")
        parameters = self.java("java.util.LinkedHashMap")()
        parameters.put("minArea", "10.0")
        parameters.put("ünit", "肝")
        workflow = data.getHistoryWorkflow()
        workflow.addStep(steps("Set image type", 'setImageType("BRIGHTFIELD_H_E");'))
        workflow.addStep(steps("Cell detection 🧬", parameters, "runPlugin('x', '{\"a\": 1}')\n"))
        stains = self.java("qupath.lib.color.ColorDeconvolutionStains")
        data.setColorDeconvolutionStains(
            stains.parseColorDeconvolutionStainsArg(
                '{"Name" : "mine", "Stain 1" : "Hematoxylin", "Values 1" : "0.62 0.72 0.31", '
                '"Stain 2" : "Eosin", "Values 2" : "0.21 0.85 0.48", "Background" : " 240 241 239"}'
            )
        )
        data.setProperty("Reviewed by", "Dr. Œuvre 肝")
        data.setProperty("Score", self.java("java.lang.Double")(math.nan))
        data.setProperty("Count", self.java("java.lang.Integer")(7))

    def _add_metadata(self, path_object: Any, values: dict[str, str]) -> None:
        if self.version < (0, 4):
            return
        for key, value in values.items():
            with contextlib.suppress(AttributeError):
                path_object.getMetadata().put(key, value)

    def tma(self, data: Any, hierarchy: Any) -> None:
        """A TMA grid of two by three with a missing core, and a tumour in a core."""
        cores = self.java("java.util.ArrayList")()
        for row in range(2):
            for column in range(3):
                missing = (row, column) == (1, 1)
                core = self.make.createTMACoreObject(
                    180 + 300.0 * column, 180 + 340.0 * row, 260.0, missing
                )
                core.setName(f"{'AB'[row]}-{column + 1}")
                # 0.5 and newer name a core by its case
                name_it = getattr(core, "setCaseID", None) or core.setUniqueID
                name_it(f"P{row}{column} 肝")
                core.putMetadataValue("Survival", f"{12.5 * column}")
                self.put(core.getMeasurementList(), {"Score": float(column)})
                cores.add(core)
        grid = self.java("qupath.lib.objects.hierarchy.DefaultTMAGrid").create(cores, 3)
        hierarchy.setTMAGrid(grid)
        tumour = self.make.createAnnotationObject(
            self.box(120, 120, 110, 100), self.path_class("Tumor", 0xC80000)
        )
        self.child(cores.get(0), tumour)
        self.child(tumour, self._cell(130, 150, 0))

    def connections(self, data: Any, hierarchy: Any) -> None:
        """Cells linked to their neighbours, as QuPath's Delaunay clustering leaves them."""
        import jpype

        self.one_tumour(data, hierarchy)
        tumour = hierarchy.getRootObject().getChildObjects().iterator().next()
        cells = [self.child(tumour, self._cell(60 + 40 * n, 120, n)) for n in range(5)]
        links = {cell: [c for c in cells[n - 1 : n + 2 : 2] if n] for n, cell in enumerate(cells)}
        group = jpype.JProxy(
            "qupath.lib.objects.PathObjectConnectionGroup", inst=_Links(self.java, cells, links)
        )
        kept = self.java("qupath.lib.objects.DefaultPathObjectConnectionGroup")(group)
        connections = self.java("qupath.lib.objects.PathObjectConnections")()
        connections.addGroup(kept)
        data.setProperty("OBJECT_CONNECTIONS", connections)

    def planes(self, data: Any, hierarchy: Any) -> None:
        """Outlines and cells on each plane of a stack and of a time series."""
        root = hierarchy.getRootObject()
        for z in range(3):
            for t in range(2):
                plane = self.planes_of.getPlane(z, t)
                tumour = self.make.createAnnotationObject(
                    self.polygon([40, 260, 250, 50], [30, 40, 290, 280 - z], plane),
                    self.path_class("Tumor", 0xC80000),
                )
                tumour.setName(f"z {z} t {t}")
                self.child(root, tumour)
                self.child(tumour, self.make.createDetectionObject(self.box(60, 70, 20, 20, plane)))
        channel = self.planes_of.getPlaneWithChannel(1, 0, 0)
        made = self.make.createAnnotationObject(self.box(300, 300, 50, 50, channel))
        made.setName("channel 1")
        self.child(root, made)


class _Links:
    """Neighbours of cells, as QuPath asks for them."""

    def __init__(self, java: Any, cells: list[Any], links: dict[Any, list[Any]]) -> None:
        self._java, self._cells, self._links = java, cells, links

    def getPathObjects(self) -> Any:  # noqa: N802
        return self._java("java.util.ArrayList")(self._cells)

    def getConnectedObjects(self, cell: Any) -> Any:  # noqa: N802
        return self._java("java.util.ArrayList")(self._links[cell])
