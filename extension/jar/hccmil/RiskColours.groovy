package hccmil

import groovy.transform.CompileStatic

/**
 * Colours of risk, packed RGB: amber for high, teal for low, white between.
 *
 * <p>They are those of the classes of tiles (Okabe and Ito's), which are told apart with the common
 * kinds of colour blindness and are not among the colours of H&E.
 */
@CompileStatic
class RiskColours {
    static final int HIGH = 0xE69F00
    static final int LOW = 0x009E73
    static final int MIDDLE = 0xFFFFFF
    /** The published threshold, for images whose record says none. */
    static final double THRESHOLD = 0.4457d
    /** Of a tile without a value. */
    static final int UNKNOWN = 0x808080
    /** The darkest of the map of nuclei, which has one colour: violet. */
    static final int NUCLEI = 0x4B2A84

    /**
     * Colour of a value on a diverging scale, white in the middle.
     *
     * @param lowest, middle, highest the scale; values beyond its ends take their colour
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
