package hccmil

import groovy.transform.CompileStatic

/** Where a tile lies: x, y, width and height in level-0 px, compared to the thousandth. */
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

    /** The four numbers for JSON: integers where they are. */
    List<Number> numbers() {
        [x, y, width, height].collect { double each ->
            double rounded = Math.round(each * 1000) / 1000d
            rounded == Math.rint(rounded) ? (Number) (long) rounded : (Number) rounded
        }
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
        numbers().join(', ')
    }
}
