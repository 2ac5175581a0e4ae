package hccmil

import groovy.transform.CompileStatic
import qupath.lib.gui.viewer.OverlayOptions
import qupath.lib.objects.classes.PathClass

/**
 * Hides QuPath's own outlines of our tiles, by their classes, while somebody of ours paints tiles,
 * and shows them again as they were: edges that two tiles share would be drawn over one another.
 */
@CompileStatic
class OutlinesOfTiles {
    private static final Map<OverlayOptions, OutlinesOfTiles> ALL = new WeakHashMap<>()
    private static final List<String> NAMES = [ScoredImage.CLASS_HIGH, ScoredImage.CLASS_LOW]

    private final OverlayOptions options
    private final Set<Object> hiders = Collections.newSetFromMap(new IdentityHashMap<Object, Boolean>())
    /** What was set for each class that was to be seen. */
    private final Map<PathClass, Boolean> changed = [:]

    static OutlinesOfTiles of(OverlayOptions options) {
        ALL.computeIfAbsent(options) { OverlayOptions each -> new OutlinesOfTiles(each) }
    }

    private OutlinesOfTiles(OverlayOptions options) {
        this.options = options
    }

    /** Hides or shows them for somebody; they are hidden while anybody wants that. */
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
            // QuPath 0.6 can show the chosen classes alone
            set = false
            options.setPathClassHidden(each, false)
        }
        changed[each] = set
    }

    private void restore() {
        for (Map.Entry<PathClass, Boolean> each : changed.entrySet()) {
            // what the user has shown meanwhile stays so
            if (options.isPathClassHidden(each.key)) {
                options.setPathClassHidden(each.key, !each.value)
            }
        }
        changed.clear()
    }
}
