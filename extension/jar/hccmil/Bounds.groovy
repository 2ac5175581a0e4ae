package hccmil

import groovy.transform.CompileStatic
import java.awt.geom.Rectangle2D

/** Bounds of a tile: x, y, width and height in level-0 px, compared to the thousandth. */
@CompileStatic
class Bounds {
    final double x
    final double y
    final double width
    final double height

    Bounds(double x, double y, double width, double height) {
        this.x = x
        this.y = y
        this.width = width
        this.height = height
    }

    double getCentreX() {
        x + width / 2
    }

    double getCentreY() {
        y + height / 2
    }

    Rectangle2D rectangle() {
        new Rectangle2D.Double(x, y, width, height)
    }

    /** The four numbers for JSON; whole numbers are integers. */
    List<Number> numbers() {
        List<Number> found = []
        for (double each : [x, y, width, height]) {
            if (each == Math.rint(each)) {
                found << Long.valueOf((long) each)
            } else {
                found << Double.valueOf(each)
            }
        }
        found
    }

    /**
     * A number that looks random but depends only on the bounds and a seed.
     *
     * <p>It is the finaliser of SplitMix64 over the four thousandths.
     */
    long mixed(long seed) {
        long mixed = seed
        mixed = mix(mixed ^ thousandths(x))
        mixed = mix(mixed ^ thousandths(y))
        mixed = mix(mixed ^ thousandths(width))
        mix(mixed ^ thousandths(height))
    }

    private static long mix(long value) {
        long z = value + (-7046029254386353131L)
        z = (z ^ (z >>> 30)) * (-4658895280553007687L)
        z = (z ^ (z >>> 27)) * (-7723592293110705685L)
        z ^ (z >>> 31)
    }

    private static long thousandths(double value) {
        Math.round(value * 1000d)
    }

    @Override
    boolean equals(Object other) {
        if (!(other instanceof Bounds)) {
            return false
        }
        Bounds theirs = (Bounds) other
        thousandths(x) == thousandths(theirs.x) && thousandths(y) == thousandths(theirs.y) \
            && thousandths(width) == thousandths(theirs.width) \
            && thousandths(height) == thousandths(theirs.height)
    }

    @Override
    int hashCode() {
        Long.hashCode(mixed(0L))
    }

    @Override
    String toString() {
        numbers().join(', ')
    }
}
