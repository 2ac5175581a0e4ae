package hccmil

import groovy.transform.CompileStatic
import qupath.lib.gui.viewer.QuPathViewer

/** Steps through tiles: centres each in the viewer at the chosen magnification, and outlines it. */
@CompileStatic
class TileWalk {
    /** Magnifications to choose from; 0 shows the whole tile and its surroundings. */
    static final List<Double> MAGNIFICATIONS = [0d, 5d, 10d, 20d, 40d].asImmutable()
    // the common rule: 40× is 0.25 µm/px
    private static final double UM_AT_1 = 10d
    private static final double SHARE_OF_VIEW = 0.5d

    final QuPathViewer viewer
    List<Tile> tiles = []
    int at = -1
    double magnification = 0d

    TileWalk(QuPathViewer viewer) {
        this.viewer = viewer
    }

    Tile getTile() {
        at < 0 || at >= tiles.size() ? null : tiles[at]
    }

    /** Takes other tiles or another order; the viewer stays where it is. */
    void take(List<Tile> tiles) {
        Bounds before = tile?.bounds
        this.tiles = tiles
        at = before == null ? -1 : tiles.findIndexOf { Tile each -> each.bounds == before }
    }

    /** Number of tiles whose bounds are among the given ones. */
    int count(Collection<Bounds> places) {
        Set<Bounds> wanted = new HashSet<Bounds>(places)
        int found = 0
        for (Tile each : tiles) {
            if (wanted.contains(each.bounds)) {
                found++
            }
        }
        found
    }

    /** Goes to a tile by its position in the order; returns false if there is none. */
    boolean go(int place) {
        if (place < 0 || place >= tiles.size()) {
            return false
        }
        at = place
        Bounds bounds = tiles[place].bounds
        Say.LOG.info('Tile {} of {}: {}', place + 1, tiles.size(), bounds)
        viewer.setDownsampleFactor(downsample(bounds))
        viewer.setCenterPixelLocation(bounds.centreX, bounds.centreY)
        TileMap.of(viewer).look(bounds)
        true
    }

    /** Removes the outline. */
    void leave() {
        TileMap.of(viewer).look(null)
    }

    private double downsample(Bounds bounds) {
        double mpp = viewer.imageData.server.pixelCalibration.averagedPixelSizeMicrons
        if (magnification > 0 && mpp > 0) {
            return UM_AT_1 / magnification / mpp
        }
        double room = Math.min(viewer.view.width, viewer.view.height) * SHARE_OF_VIEW
        bounds.width / Math.max(room, 100d)
    }
}
