package hccmil

import groovy.transform.CompileStatic
import javafx.beans.property.BooleanProperty
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer

/**
 * Hides what shows the model's opinion from a reviewer.
 *
 * <p>That is our map and our windows with numbers, QuPath's outlines of tiles in the colours of
 * their classes, the class below the mouse, and the panes with measurements. Afterwards all but
 * our windows is shown again as it was.
 */
@CompileStatic
class Blindfold {
    private static Blindfold worn

    private final QuPathGUI qupath
    private final QuPathViewer viewer
    private MapKind kind
    private double opacity
    private boolean filled
    private final Map<BooleanProperty, Boolean> before = [:]

    Blindfold(QuPathGUI qupath, QuPathViewer viewer) {
        this.qupath = qupath
        this.viewer = viewer
    }

    /** @throws Problem during a blinded review */
    static void requireNone() {
        if (worn != null) {
            throw new Problem('A blinded review is going on, and this would show what the model says. '
                + 'Set the review to Open, or close it, first.')
        }
    }

    boolean isOn() {
        is(worn)
    }

    void putOn() {
        if (on) {
            return
        }
        worn = this
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
        TileMapPanel.close()
        ResultWindow.close()
        TilesWindow.close()
    }

    void takeOff() {
        if (!on) {
            return
        }
        worn = null
        OutlinesOfTiles.of(viewer.overlayOptions).hide(this, false)
        for (Map.Entry<BooleanProperty, Boolean> each : before.entrySet()) {
            // what the user has shown in the meantime stays visible
            if (!each.key.get()) {
                each.key.set(each.value)
            }
        }
        before.clear()
        TileMap map = TileMap.of(viewer)
        // another image may be open by now, without scores
        map.show(map.scoredOrNull() == null ? MapKind.NOTHING : kind, opacity, filled)
    }
}
