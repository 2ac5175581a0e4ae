package hccmil

import groovy.transform.CompileStatic
import java.security.MessageDigest

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
        List<Tile> placed = tiles.sort(false, Comparator
            .comparingDouble({ Tile each -> each.bounds.y })
            .thenComparingDouble({ Tile each -> each.bounds.x }))
        if (this == RANDOM) {
            Map<Tile, String> drawn = new IdentityHashMap<>()
            placed.each { Tile each -> drawn[each] = draw(seed, each.bounds) }
            return placed.sort(false, Comparator.comparing({ Tile each -> drawn[each] }))
        }
        placed.sort(false, Comparator.comparingDouble({ Tile each -> key(each) }))
    }

    private double key(Tile tile) {
        double value = this in [RAISE, LOWER] ? tile.contribution : tile.risk
        // tiles without a value come last
        Double.isNaN(value) ? Double.MAX_VALUE : this in [RAISE, HIGHEST] ? -value : value
    }

    private static String draw(String seed, Bounds bounds) {
        byte[] bytes = "$seed:${bounds.thousandths.join(',')}".toString().getBytes('UTF-8')
        MessageDigest.getInstance('SHA-256').digest(bytes).encodeHex().toString()
    }
}
