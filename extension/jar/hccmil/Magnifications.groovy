package hccmil

import groovy.transform.CompileStatic
import javafx.util.StringConverter

/** Turns magnifications into text and back. */
@CompileStatic
class Magnifications extends StringConverter<Double> {
    @Override
    String toString(Double value) {
        value == null ? '' : value == 0d ? 'Whole tile' : "${value.intValue()}×".toString()
    }

    @Override
    Double fromString(String text) {
        TileWalk.MAGNIFICATIONS.find { Double each -> toString(each) == text }
    }
}
