package hccmil

import groovy.transform.CompileStatic
import qupath.lib.gui.viewer.OverlayOptions
import qupath.lib.objects.classes.PathClass

/**
 * Hides QuPath's own outlines of our tiles, by their classes, while our overlay paints the tiles.
 *
 * <p>QuPath would draw the edges that two tiles share over one another. Afterwards the classes are
 * shown or hidden as they were before.
 */
@CompileStatic
class OutlinesOfTiles {
    private static final Map<OverlayOptions, OutlinesOfTiles> ALL = new WeakHashMap<>()
    private static final List<String> NAMES = [ScoredImage.CLASS_HIGH, ScoredImage.CLASS_LOW]

    private final OverlayOptions options
    private final Set<Object> hiders = Collections.newSetFromMap(new IdentityHashMap<Object, Boolean>())
    /** Value that was set for each class that had been visible. */
    private final Map<PathClass, Boolean> changed = [:]

    static OutlinesOfTiles of(OverlayOptions options) {
        ALL.computeIfAbsent(options) { OverlayOptions each -> new OutlinesOfTiles(each) }
    }

    private OutlinesOfTiles(OverlayOptions options) {
        this.options = options
    }

    /** Hides or shows the outlines for one user of this class; one that hides them is enough. */
    void hide(Object who, boolean hidden) {
        boolean before = !hiders.empty
        if (hidden) {
            hiders.add(who)
        } else {
            hiders.remove(who)
        }
        if (hiders.empty && before) {
            restore()
        } else if (!hiders.empty && !before) {
            for (String name : NAMES) {
                hideClass(PathClass.fromString(name))
            }
        }
    }

    private void hideClass(PathClass each) {
        if (options.isPathClassHidden(each)) {
            return
        }
        options.setPathClassHidden(each, true)
        boolean set = true
        if (!options.isPathClassHidden(each)) {
            // QuPath 0.6 and later can be set to show only the selected classes
            set = false
            options.setPathClassHidden(each, false)
        }
        changed[each] = set
    }

    private void restore() {
        for (Map.Entry<PathClass, Boolean> each : changed.entrySet()) {
            // a class that the user has shown in the meantime stays visible
            if (options.isPathClassHidden(each.key)) {
                options.setPathClassHidden(each.key, !each.value)
            }
        }
        changed.clear()
    }
}
