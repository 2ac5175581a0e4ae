"""Outlines that the tests of projects use."""

from shapely import MultiPolygon, Polygon, box

PLAIN = box(100, 100, 600, 500)
HOLED = box(0, 0, 800, 800).difference(box(200, 200, 300, 300))
TWO: MultiPolygon | Polygon = MultiPolygon([box(0, 0, 50, 50), box(100, 100, 190, 180)])
