package hccmil

import groovy.transform.CompileStatic
import javafx.beans.property.BooleanProperty
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer

/**
 * Hides what tells a reviewer the model's view: our map, QuPath's outlines of tiles in the colours
 * of their classes, the class below the mouse, and the panes with measurements. What was hidden is
 * shown again as it was.
 */
@CompileStatic
class Blindfold {
    private final QuPathGUI qupath
    private final QuPathViewer viewer
    private boolean on
    private MapKind kind
    private double opacity
    private boolean filled
    private final Map<BooleanProperty, Boolean> before = [:]

    Blindfold(QuPathGUI qupath, QuPathViewer viewer) {
        this.qupath = qupath
        this.viewer = viewer
    }

    boolean isOn() {
        on
    }

    void putOn() {
        if (on) {
            return
        }
        on = true
        TileMap map = TileMap.of(viewer)
        kind = map.kind
        opacity = map.opacity
        filled = map.filled
        map.show(MapKind.NOTHING)
        OutlinesOfTiles.of(viewer.overlayOptions).hide(this, true)
        for (BooleanProperty each : [
                qupath.viewerManager.showLocationProperty(), qupath.showAnalysisPaneProperty()]) {
            before[each] = each.get()
            each.set(false)
        }
    }

    void takeOff() {
        if (!on) {
            return
        }
        on = false
        OutlinesOfTiles.of(viewer.overlayOptions).hide(this, false)
        for (Map.Entry<BooleanProperty, Boolean> each : before.entrySet()) {
            // what the user has shown meanwhile stays so
            if (!each.key.get()) {
                each.key.set(each.value)
            }
        }
        before.clear()
        try {
            TileMap.of(viewer).show(kind, opacity, filled)
        } catch (Problem ignored) {
            // another image is open by now, which has no scores
            TileMap.of(viewer).show(MapKind.NOTHING)
        }
    }
}
