package hccmil

import groovy.transform.CompileStatic

/** A scored tile. */
@CompileStatic
class Tile {
    Bounds bounds
    /** In [0, 1]. */
    double risk
    /** Share of the slide's m that comes from this tile; positive values raise the risk. */
    double contribution
    /** In [0, 1]; NaN if the run did not measure it. */
    double nuclei
    /** Whether the tile has the class of high risk. */
    boolean high
}
