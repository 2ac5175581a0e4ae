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
    final List<Long> thousandths

    Bounds(double x, double y, double width, double height) {
        this.x = x
        this.y = y
        this.width = width
        this.height = height
        thousandths = [x, y, width, height].collect { double each -> Math.round(each * 1000) }
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

    @Override
    boolean equals(Object other) {
        other instanceof Bounds && thousandths == ((Bounds) other).thousandths
    }

    @Override
    int hashCode() {
        thousandths.hashCode()
    }

    @Override
    String toString() {
        thousandths.collect { long each -> each / 1000 }.join(', ')
    }
}
