package hccmil

import groovy.transform.CompileStatic
import java.security.MessageDigest

/** In which order a slide's tiles are looked at. */
@CompileStatic
enum TileOrder {
    RAISE('Raise the risk most'),
    LOWER('Lower the risk most'),
    HIGHEST('Highest risk'),
    LOWEST('Lowest risk'),
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
     * Tiles in this order; of equals the one further up and left comes first.
     *
     * @param seed of the random order: the same tiles and seed give the same order anywhere
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
        // what has no value comes last
        Double.isNaN(value) ? Double.MAX_VALUE : this in [RAISE, HIGHEST] ? -value : value
    }

    private static String draw(String seed, Bounds bounds) {
        byte[] bytes = "$seed:${bounds.thousandths.join(',')}".toString().getBytes('UTF-8')
        MessageDigest.getInstance('SHA-256').digest(bytes).encodeHex().toString()
    }
}
