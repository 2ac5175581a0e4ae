package hccmil

import groovy.transform.CompileStatic
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Envelope
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.GeometryFactory
import org.locationtech.jts.geom.prep.PreparedGeometry
import org.locationtech.jts.geom.prep.PreparedGeometryFactory

/**
 * Places of the slide's tile grid that lie inside an outline and have no scored tile.
 *
 * <p>The record says how many tiles were left out, but not where they are. A run plans each tile of
 * the grid that lies inside an outline, so the missing ones are those that were left out. The grid
 * starts at the corner of the slide, and its cells have the size of the tiles.
 */
@CompileStatic
class LeftOut {
    // Rounding must not decide about a tile of which exactly the smallest share is inside.
    private static final double ROUNDING = 1e-9d
    private static final GeometryFactory FACTORY = new GeometryFactory()

    /**
     * @param outlines areas in level-0 px
     * @param tiles the scored tiles, at least one
     * @param minInside smallest share of a tile that must lie inside an outline
     * @param width width of the slide in level-0 px
     * @param height height of the slide in level-0 px
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
                // an outline may have 50,000 corners: each tile is compared with those of its row only
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
