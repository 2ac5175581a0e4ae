package hccmil

import groovy.transform.CompileStatic

/** The maps of tiles that a viewer can show. */
@CompileStatic
enum MapKind {
    NOTHING('Nothing', 0d),
    CLASSES('Tile classes', 0.4d),
    RISK('Risk', 0.55d),
    CONTRIBUTION('Contribution', 0.55d),
    NUCLEI('Nuclei fraction', 0.55d)

    /** Share of nuclei from which on a tile has the darkest colour. */
    static final double MOST_NUCLEI = 0.5d

    final String title
    /** Opacity at first, in [0, 1]; H&E stays readable below the map. */
    final double opacity

    MapKind(String title, double opacity) {
        this.title = title
        this.opacity = opacity
    }

    /** Colour of each tile, packed RGB. */
    int[] colours(ScoredImage image) {
        int[] colours = new int[image.tiles.size()]
        double most = mostContribution(image)
        for (int at = 0; at < colours.length; at++) {
            colours[at] = colour(image.tiles[at], image.threshold, most)
        }
        colours
    }

    /** Largest absolute contribution of a tile, which is the end of that map on both sides. */
    static double mostContribution(ScoredImage image) {
        double most = 0d
        for (Tile each : image.tiles) {
            if (!Double.isNaN(each.contribution)) {
                most = Math.max(most, Math.abs(each.contribution))
            }
        }
        most == 0d ? 1d : most
    }

    private int colour(Tile tile, double threshold, double most) {
        switch (this) {
            case RISK:
                return RiskColours.diverging(tile.risk, 0d, threshold, 1d)
            case CONTRIBUTION:
                return Double.isNaN(tile.contribution)
                    ? RiskColours.UNKNOWN : RiskColours.diverging(tile.contribution, -most, 0d, most)
            case NUCLEI:
                return Double.isNaN(tile.nuclei)
                    ? RiskColours.UNKNOWN : RiskColours.sequential(tile.nuclei, 0d, MOST_NUCLEI)
            default:
                return tile.high ? RiskColours.HIGH : RiskColours.LOW
        }
    }
}
