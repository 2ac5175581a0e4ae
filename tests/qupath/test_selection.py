"""Which annotations are tumour outlines, and which images are meant."""

import pytest
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageResults, ImageState, Server
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint
from qupath_hccmil.qupath.selection import is_of_class, tumour_annotations


def annotation(key, geometry, class_name="Tumor", roi="polygon", **more):
    return Annotation(key, class_name, None, geometry, roi, **more)


def state(*annotations):
    entry = ImageEntry("1", "slide.svs", Server("uri", "", "file:/slide.svs"))
    return ImageState(entry, "BRIGHTFIELD_H_E", list(annotations), 0, ImageResults(), "")


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("Tumor", ["tumor"], True),
        ("Tumor: Positive", ["Tumor"], True),
        ("Tumor: Positive", ["Tumor: positive"], True),
        ("Tumor", ["Tumor: Positive"], False),
        ("Tumor bed", ["Tumor"], False),
        ("Stroma: Tumor", ["Tumor"], False),
        (None, ["Tumor"], False),
    ],
)
def test_class_filter(name, wanted, expected):
    assert is_of_class(name, wanted) is expected


def test_areas_of_the_class_are_taken_and_nothing_else():
    chosen = tumour_annotations(
        state(
            annotation("a", box(0, 0, 9, 9)),
            annotation("b", MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 6)]), "HCC", "geometry"),
            annotation("c", box(0, 0, 9, 9), "Stroma"),
            annotation("d", LineString([(0, 0), (5, 5)]), roi="line"),
            annotation("e", Point(1, 1), roi="points"),
            annotation("f", Polygon()),
            annotation("g", None),
            annotation("h", box(0, 0, 9, 9), z=2),
            annotation("i", box(0, 0, 9, 9), "Tumour: inner"),
        )
    )
    assert [a.id for a in chosen] == ["a", "b", "i"]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([], "no annotations"),
        ([annotation("a", box(0, 0, 9, 9), "Stroma")], "its classes: Stroma"),
        ([annotation("a", LineString([(0, 0), (1, 1)]), roi="line")], "enclose no area"),
    ],
)
def test_nothing_to_score_is_said_in_one_line(annotations, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        tumour_annotations(state(*annotations))
    assert "\n" not in str(caught.value)
    assert "slide.svs" in str(caught.value)


def test_fingerprint_sees_edits_and_only_edits():
    ring = [(0, 0), (100, 0), (100, 80), (0, 80)]
    a = annotation("a", Polygon(ring))
    b = annotation("b", box(5, 5, 50, 50))
    same = annotation_fingerprint([a, b])
    assert annotation_fingerprint([b, a]) == same
    turned = annotation("a", Polygon(ring[2:] + ring[:2]))
    assert annotation_fingerprint([turned, b]) == same
    locked = annotation("a", Polygon(ring), locked=True, measurements={"x": 1.0})
    assert annotation_fingerprint([locked, b]) == same
    assert annotation_fingerprint([a]) != same
    moved = annotation("a", Polygon([(1, 0), *ring[1:]]))
    assert annotation_fingerprint([moved, b]) != same
    other_class = annotation("a", Polygon(ring), "HCC")
    assert annotation_fingerprint([other_class, b]) != same
