package hccmil

import groovy.transform.CompileStatic

/** Orders in which the tiles of a slide can be viewed. */
@CompileStatic
enum TileOrder {
    RAISE('Contribution, highest first'),
    LOWER('Contribution, lowest first'),
    HIGHEST('Risk, highest first'),
    LOWEST('Risk, lowest first'),
    RANDOM('Random')

    final String title

    TileOrder(String title) {
        this.title = title
    }

    @Override
    String toString() {
        title
    }

    /**
     * Sorts tiles in this order; equal ones are sorted by row, then by column.
     *
     * @param seed seed of the random order; the same tiles and seed give the same order everywhere
     */
    List<Tile> sorted(Collection<Tile> tiles, String seed) {
        long start = seed.hashCode()
        List<RankedTile> ranked = tiles.collect { Tile each ->
            new RankedTile(each, this == RANDOM ? (double) each.bounds.mixed(start) : key(each))
        }
        Collections.sort(ranked)
        ranked.collect { RankedTile each -> each.tile }
    }

    private double key(Tile tile) {
        double value = this in [RAISE, LOWER] ? tile.contribution : tile.risk
        // tiles without a value come last
        Double.isNaN(value) ? Double.MAX_VALUE : this in [RAISE, HIGHEST] ? -value : value
    }
}
