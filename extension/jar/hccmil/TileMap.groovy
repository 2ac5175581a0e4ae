package hccmil

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import javafx.application.Platform
import javafx.beans.value.ChangeListener
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer
import qupath.lib.images.ImageData
import qupath.lib.objects.hierarchy.events.PathObjectHierarchyEvent
import qupath.lib.objects.hierarchy.events.PathObjectHierarchyListener

/**
 * What one viewer paints of the tiles: the map, the current tile, and places that were left out.
 *
 * <p>It follows the viewer to other images, and to new scores of the same image.
 */
@CompileStatic
class TileMap {
    private static final String KEY = 'hccmil.map'

    final QuPathViewer viewer
    private final TileOverlay overlay = new TileOverlay()
    private final MapLegend legend
    private final List<Runnable> listeners = []
    private ImageData<BufferedImage> heard
    /** Results of the open image; null if they have to be read again. */
    private ScoredImage known
    private boolean behind

    private MapKind kind = MapKind.NOTHING
    private boolean filled = true
    private double opacity = MapKind.NOTHING.opacity

    /** The map of a viewer. */
    static TileMap of(QuPathViewer viewer) {
        // kept with the viewer, so that it goes when the viewer goes
        Map<Object, Object> kept = viewer.view.properties
        TileMap found = (TileMap) kept[KEY]
        if (found == null) {
            found = new TileMap(viewer)
            kept[KEY] = found
        }
        found
    }

    private TileMap(QuPathViewer viewer) {
        this.viewer = viewer
        legend = new MapLegend(viewer, { show(MapKind.NOTHING) } as Runnable)
        viewer.imageDataProperty().addListener({ a, b, c -> imageChanged() } as ChangeListener)
        hear()
    }

    MapKind getKind() {
        kind
    }

    boolean isFilled() {
        filled
    }

    double getOpacity() {
        opacity
    }

    TileOverlay getOverlay() {
        overlay
    }

    /** Adds a listener for changes of the image, its scores or the map. */
    void whenChanged(Runnable listener) {
        listeners << listener
    }

    void forget(Runnable listener) {
        listeners.remove(listener)
    }

    /** Shows a map of the open image, or none, with the opacity that this kind has at first. */
    void show(MapKind kind) {
        show(kind, kind.opacity, filled)
    }

    /**
     * @param opacity in [0, 1]
     * @param filled whether tiles are filled in the map of classes; other maps are always filled
     * @throws Problem if the image has no scores
     */
    void show(MapKind kind, double opacity, boolean filled) {
        if (kind != MapKind.NOTHING) {
            scored()
        }
        if (kind != this.kind) {
            Say.LOG.info('Map of tiles: {}', kind.title)
        }
        if (filled != this.filled) {
            Say.LOG.info('Tiles are filled: {}', filled)
        }
        this.kind = kind
        this.opacity = opacity
        this.filled = filled
        refresh()
    }

    /** Outlines the current tile; null for none. */
    void look(Bounds tile) {
        overlay.current = tile
        place()
    }

    /** Crosses out places that were left out; an empty list for none. */
    void showLeftOut(List<Bounds> places) {
        overlay.leftOut = places
        place()
    }

    /** The results of the open image; throws Problem if there are none. */
    ScoredImage scored() {
        if (known == null || !known.data.is(viewer.imageData)) {
            known = ScoredImage.of(viewer.imageData, QuPathGUI.instance.project)
        }
        known
    }

    /** The results of the open image; null if there are none. */
    ScoredImage scoredOrNull() {
        try {
            return scored()
        } catch (Problem ignored) {
            return null
        }
    }

    private void refresh() {
        // after an image without scores is opened, the map waits for one with scores
        ScoredImage image = kind == MapKind.NOTHING ? null : scoredOrNull()
        if (image == null) {
            overlay.show([], new int[0], filled, opacity)
        } else {
            List<Bounds> places = image.tiles.collect { Tile each -> each.bounds }
            overlay.show(places, kind.colours(image), filled || kind != MapKind.CLASSES, opacity)
        }
        legend.show(kind, image)
        OutlinesOfTiles.of(viewer.overlayOptions).hide(this, image != null)
        place()
        listeners.collect().each { Runnable each -> each.run() }
    }

    /** Keeps the overlay in the viewer while it has something to paint. */
    private void place() {
        boolean there = viewer.customOverlayLayers.contains(overlay)
        if (overlay.empty && there) {
            viewer.customOverlayLayers.remove(overlay)
        } else if (!overlay.empty && !there) {
            viewer.customOverlayLayers.add(overlay)
        }
        viewer.repaint()
    }

    private void imageChanged() {
        known = null
        hear()
        overlay.current = null
        overlay.leftOut = []
        refresh()
    }

    private final PathObjectHierarchyListener onObjects = { PathObjectHierarchyEvent event ->
        if (event.changing) {
            return
        }
        known = null
        // thousands of tiles may change one by one; one refresh is enough
        if (!behind) {
            behind = true
            Platform.runLater {
                behind = false
                refresh()
            }
        }
    } as PathObjectHierarchyListener

    private void hear() {
        heard?.hierarchy?.removeListener(onObjects)
        heard = viewer.imageData
        heard?.hierarchy?.addListener(onObjects)
    }
}
