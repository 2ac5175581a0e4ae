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
 * What is painted of the tiles in one viewer: the map, the tile that is looked at, and places that
 * were left out. It follows the viewer to another image, and to new scores of the same.
 */
@CompileStatic
class TileMap {
    private static final Map<QuPathViewer, TileMap> MAPS = new WeakHashMap<>()

    final QuPathViewer viewer
    private final TileOverlay overlay = new TileOverlay()
    private final MapLegend legend
    private final List<Runnable> listeners = []
    private ImageData<BufferedImage> heard
    private boolean behind

    private MapKind kind = MapKind.NOTHING
    private boolean filled = true
    private double opacity = MapKind.NOTHING.opacity

    /** The map of a viewer. */
    static TileMap of(QuPathViewer viewer) {
        MAPS.computeIfAbsent(viewer) { QuPathViewer each -> new TileMap(each) }
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

    /** Runs something whenever the image, its scores or what is shown of them changed. */
    void whenChanged(Runnable listener) {
        listeners << listener
    }

    void forget(Runnable listener) {
        listeners.remove(listener)
    }

    /** Shows a map of the open image, or none, as opaque as that kind is at first. */
    void show(MapKind kind) {
        show(kind, kind.opacity, filled)
    }

    /**
     * @param filled of the map of classes: the others always are
     * @throws Problem where the image has no scores
     */
    void show(MapKind kind, double opacity, boolean filled) {
        if (kind != MapKind.NOTHING) {
            scored()
        }
        if (kind != this.kind) {
            Say.LOG.info('Map of tiles: {}', kind.title)
        }
        this.kind = kind
        this.opacity = opacity
        this.filled = filled
        refresh()
    }

    /** Outlines a tile; null for none. */
    void look(Bounds tile) {
        overlay.current = tile
        place()
    }

    /** Hatches places that were left out; an empty list for none. */
    void showLeftOut(List<Bounds> places) {
        overlay.leftOut = places
        place()
    }

    /** What the open image holds of ours; throws Problem where that is nothing. */
    ScoredImage scored() {
        ScoredImage.of(viewer.imageData, QuPathGUI.instance.project)
    }

    private void refresh() {
        ScoredImage image = null
        if (kind != MapKind.NOTHING) {
            try {
                image = scored()
            } catch (Problem ignored) {
                // another image was opened, without scores: the map waits for one that has some
                image = null
            }
        }
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

    /** Puts the overlay into the viewer while it has something to paint. */
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
        hear()
        overlay.current = null
        overlay.leftOut = []
        refresh()
    }

    private final PathObjectHierarchyListener onObjects = { PathObjectHierarchyEvent event ->
        // tiles come by the thousand: once is enough
        if (!event.changing && !behind) {
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
