package hccmil

import groovy.transform.CompileStatic

/** A tile with its place in an order: lower keys first, equal ones by row and column. */
@CompileStatic
class RankedTile implements Comparable<RankedTile> {
    final Tile tile
    final double key

    RankedTile(Tile tile, double key) {
        this.tile = tile
        this.key = key
    }

    @Override
    int compareTo(RankedTile other) {
        int order = Double.compare(key, other.key)
        order = order ?: Double.compare(tile.bounds.y, other.tile.bounds.y)
        order ?: Double.compare(tile.bounds.x, other.tile.bounds.x)
    }
}
