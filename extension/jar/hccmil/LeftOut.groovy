package hccmil

import groovy.transform.CompileStatic
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Envelope
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.GeometryFactory
import org.locationtech.jts.geom.prep.PreparedGeometry
import org.locationtech.jts.geom.prep.PreparedGeometryFactory

/**
 * Places of the slide's tile grid that lie in an outline and have no tile.
 *
 * <p>The record says how many tiles were left out, not where they are; but a run takes each tile of
 * the grid that lies in an outline, so those that are missing are the places. The grid begins at the
 * slide's corner and has the tiles' own size.
 */
@CompileStatic
class LeftOut {
    // Half a tile cut out by an outline on the grid's own lines is half, whatever the rounding.
    private static final double ROUNDING = 1e-9d
    private static final GeometryFactory FACTORY = new GeometryFactory()

    /**
     * @param outlines areas in level-0 px
     * @param tiles the tiles that are there, at least one
     * @param minInside share of a tile that must lie in an outline
     * @param width of the slide in level-0 px
     * @param height likewise
     */
    static List<Bounds> places(Collection<Geometry> outlines, Collection<Bounds> tiles,
            double minInside, double width, double height) {
        Bounds first = tiles.first()
        double sideX = first.width
        double sideY = first.height
        Set<Long> there = []
        tiles.each { Bounds each ->
            there << key(Math.round(each.x / sideX), Math.round(each.y / sideY))
        }
        long columns = (long) Math.floor(width / sideX + 1e-6d)
        long rows = (long) Math.floor(height / sideY + 1e-6d)
        List<Bounds> found = []
        for (Geometry outline : outlines) {
            Geometry area = outline.valid ? outline : outline.buffer(0)
            if (area.empty) {
                continue
            }
            Envelope box = area.envelopeInternal
            long top = Math.max(0L, (long) Math.floor(box.minY / sideY))
            long bottom = Math.min(rows, (long) Math.ceil(box.maxY / sideY))
            for (long row = top; row < bottom; row++) {
                // an outline may have 50,000 corners: each tile meets those of its own row only
                Geometry strip = area.intersection(rectangle(
                    box.minX, row * sideY, box.maxX - box.minX, sideY))
                if (strip.empty) {
                    continue
                }
                PreparedGeometry prepared = PreparedGeometryFactory.prepare(strip)
                Envelope piece = strip.envelopeInternal
                long left = Math.max(0L, (long) Math.floor(piece.minX / sideX))
                long right = Math.min(columns, (long) Math.ceil(piece.maxX / sideX))
                for (long column = left; column < right; column++) {
                    if (there.contains(key(column, row))) {
                        continue
                    }
                    Geometry cell = rectangle(column * sideX, row * sideY, sideX, sideY)
                    double share = prepared.covers(cell) ? 1d
                        : prepared.intersects(cell) ? strip.intersection(cell).area / cell.area : 0d
                    if (share >= minInside * (1 - ROUNDING)) {
                        there << key(column, row)
                        found << new Bounds(column * sideX, row * sideY, sideX, sideY)
                    }
                }
            }
        }
        found
    }

    private static long key(long column, long row) {
        (row << 32) | column
    }

    private static Geometry rectangle(double x, double y, double width, double height) {
        FACTORY.createPolygon([
            new Coordinate(x, y), new Coordinate(x + width, y),
            new Coordinate(x + width, y + height), new Coordinate(x, y + height),
            new Coordinate(x, y),
        ] as Coordinate[])
    }
}
