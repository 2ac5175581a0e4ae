package hccmil

import groovy.transform.CompileStatic

/** A scored tile. */
@CompileStatic
class Tile {
    Bounds bounds
    /** In [0, 1]. */
    double risk
    /** Share of the slide's logit that is this tile's; its sign says whether it raises the risk. */
    double contribution
    /** In [0, 1]; NaN where the run had none. */
    double nuclei
    /** Whether the tile is of the class of high risk. */
    boolean high
}
