package hccmil

import groovy.transform.CompileStatic

/**
 * Colours of risk, packed RGB: amber for high, teal for low, white between.
 *
 * <p>The colours are those of the tile classes (from Okabe and Ito's palette). People with the common
 * kinds of colour blindness can tell them apart, and they differ from the colours of H&E.
 */
@CompileStatic
class RiskColours {
    static final int HIGH = 0xE69F00
    static final int LOW = 0x009E73
    static final int MIDDLE = 0xFFFFFF
    /** The published threshold, for images without a record. */
    static final double THRESHOLD = 0.4457d
    /** Colour of a tile without a value. */
    static final int UNKNOWN = 0x808080
    /** Darkest colour of the map of nuclei, which goes from white to violet. */
    static final int NUCLEI = 0x4B2A84

    /**
     * Colour of a value on a diverging scale, white in the middle.
     *
     * @param lowest, middle, highest the scale; values beyond its ends get the colour of the end
     */
    static int diverging(double value, double lowest, double middle, double highest) {
        value < middle
            ? mixed(MIDDLE, LOW, (middle - value) / (middle - lowest))
            : mixed(MIDDLE, HIGH, (value - middle) / (highest - middle))
    }

    /** Colour of a value from white to violet. */
    static int sequential(double value, double lowest, double highest) {
        mixed(MIDDLE, NUCLEI, (value - lowest) / (highest - lowest))
    }

    private static int mixed(int from, int to, double share) {
        double bounded = Math.max(0d, Math.min(1d, share))
        int packed = 0
        for (int shift : [16, 8, 0]) {
            int one = (from >> shift) & 0xFF
            int two = (to >> shift) & 0xFF
            packed |= (int) Math.round(one + (two - one) * bounded) << shift
        }
        packed
    }
}
