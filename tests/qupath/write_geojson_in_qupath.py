"""Writes GeoJSON with the QuPath of PAQUO_QUPATH_DIR in each of its forms; prints what is in it.

Runs in its own process: one process holds one Java.
"""

import json
import sys
from pathlib import Path

import paquo.java  # noqa: F401  starts QuPath's Java
from jpype import JClass

OUT = Path(sys.argv[1])
Objects, Rois = JClass("qupath.lib.objects.PathObjects"), JClass("qupath.lib.roi.ROIs")
PathClass, Plane = (
    JClass("qupath.lib.objects.classes.PathClass"),
    JClass("qupath.lib.regions.ImagePlane"),
)
PathIO, Option = JClass("qupath.lib.io.PathIO"), JClass("qupath.lib.io.PathIO$GeoJsonExportOptions")
Points = JClass("qupath.lib.geom.Point2")
Gson = JClass("qupath.lib.io.GsonTools").getInstance()
first = Plane.getDefaultPlane()


def points(*pairs):
    """A list of Java points."""
    made = JClass("java.util.ArrayList")()
    for x, y in pairs:
        made.add(Points(float(x), float(y)))
    return made


tumour = PathClass.fromString("Tumor")
rectangle = Objects.createAnnotationObject(
    Rois.createRectangleROI(0.0, 0.0, 100.5, 50.0, first), tumour
)
rectangle.setName("Größe 肿瘤")
ellipse = Objects.createAnnotationObject(
    Rois.createEllipseROI(10.0, 20.0, 300.0, 200.0, first), PathClass.fromString("Tumor: Positive")
)
triangle = Objects.createAnnotationObject(
    Rois.createPolygonROI(points((0, 0), (90, 0), (0, 80)), first)
)
deeper = Objects.createAnnotationObject(
    Rois.createRectangleROI(0.0, 0.0, 10.0, 10.0, Plane.getPlane(2, 0)), tumour
)
Tools = JClass("qupath.lib.roi.RoiTools")
holed = Objects.createAnnotationObject(
    Tools.difference(
        Rois.createRectangleROI(0.0, 0.0, 500.0, 500.0, first),
        Rois.createRectangleROI(100.0, 100.0, 50.0, 50.0, first),
    ),
    tumour,
)
dots = Objects.createAnnotationObject(Rois.createPointsROI(points((1, 2), (3, 4)), first))
annotations = [rectangle, ellipse, triangle, deeper, holed, dots]
cell = Objects.createCellObject(
    Rois.createRectangleROI(5.0, 5.0, 9.0, 9.0, first), None, tumour, None
)
cell.getMeasurementList().put("NaN", float("nan"))
tile = Objects.createTileObject(Rois.createRectangleROI(5.0, 5.0, 9.0, 9.0, first), tumour, None)
everything = JClass("java.util.ArrayList")()
for item in [*annotations, cell, tile]:
    everything.add(item)

COLLECTION, PRETTY = Option.FEATURE_COLLECTION, Option.PRETTY_JSON
forms = {
    "collection.geojson": [COLLECTION],
    "list.geojson": [],
    "pretty.geojson": [COLLECTION, PRETTY],
    "packed.geojson.gz": [COLLECTION],
    "packed.zip": [COLLECTION],
}
files = [str(OUT / name) for name in forms]
for name, options in forms.items():
    PathIO.exportObjectsAsGeoJSON(JClass("java.io.File")(str(OUT / name)), everything, options)

root = JClass("qupath.lib.objects.PathRootObject")()
for item in [*annotations[1:], cell, tile]:
    rectangle.addChildObject(item)
root.addChildObject(rectangle)
nested = OUT / "hierarchy.geojson"
nested.write_text(str(Gson.toJson(root)), encoding="utf-8")
files.append(str(nested))

KINDS = {
    "Rectangle": "rectangle",
    "Ellipse": "ellipse",
    "Polygon": "polygon",
    "Geometry": "geometry",
    "Points": "points",
}
print(
    json.dumps(
        {
            "files": files,
            "annotations": {
                str(item.getID()): {
                    "class": str(item.getPathClass()) if item.getPathClass() else None,
                    "name": None if item.getName() is None else str(item.getName()),
                    "roi": KINDS[str(item.getROI().getRoiName())],
                    "z": int(item.getROI().getZ()),
                    "area": float(item.getROI().getGeometry().getArea()),
                }
                for item in annotations
            },
        }
    )
)
