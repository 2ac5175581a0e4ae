package hccmil

import java.util.concurrent.Executors
import javafx.animation.Animation
import javafx.animation.KeyFrame
import javafx.animation.Timeline
import javafx.beans.value.ChangeListener
import javafx.util.Duration
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData

/**
 * Notices when a run has written scores into an open image, whoever started the run, and shows
 * them. If the user has unsaved work in the image, it warns instead.
 */
class Watch {
    private static Watch instance

    private final QuPathGUI qupath
    private final reader = Executors.newSingleThreadExecutor { task ->
        def thread = new Thread(task, "HCC-MIL watch")
        thread.daemon = true
        thread
    }
    /** Stamp of each open image's file when both were last known to be the same. */
    private final Map<ImageData, String> agreed = new WeakHashMap<>()
    /** Stamp of the file for which the user was warned. */
    private final Map<ImageData, String> warned = new WeakHashMap<>()
    private final Set<ImageData> reading = Collections.newSetFromMap(new IdentityHashMap<>())
    private boolean looking
    private Object listOf
    private String listStamp

    private Watch(QuPathGUI qupath) {
        this.qupath = qupath
    }

    static void start(QuPathGUI qupath) {
        if (instance != null) return
        instance = new Watch(qupath)
        qupath.imageDataProperty().addListener({ value, before, after -> now() } as ChangeListener)
        def every = new Timeline(new KeyFrame(Duration.seconds(2), { now() }))
        every.cycleCount = Animation.INDEFINITE
        every.play()
    }

    /** Looks now; in the window's thread. */
    static void now() {
        instance.look()
    }

    /** Whether an image was written on the disk since it was opened, so that saving would lose that. */
    static boolean differs(ImageData data) {
        def entry = OpenImages.of(instance.qupath)[data]
        def known = instance.agreed[data]
        known != null && entry != null && OpenImages.stamp(OpenImages.dataFile(entry)) != known
    }

    /** Notes that an image and its file are the same, as after saving. */
    static void agree(ImageData data) {
        def entry = OpenImages.of(instance.qupath)[data]
        if (entry != null) instance.agreed[data] = OpenImages.stamp(OpenImages.dataFile(entry))
    }

    /** Looks at the disk in the background, because a drive may be slow or gone. */
    private void look() {
        if (looking) return
        looking = true
        def project = qupath.project
        def before = new HashMap(agreed)
        def files = OpenImages.of(qupath).collectEntries { data, entry -> [data, OpenImages.dataFile(entry)] }
        reader.submit {
            def list = null, stamps = [:]
            try {
                list = project == null ? null : OpenImages.stamp(project.path)
                stamps = files.collectEntries { data, file -> [data, OpenImages.stamp(file)] }
            } catch (IOException error) {
                // QuPath reports a drive that is gone when it needs the drive.
                Say.LOG.debug("Could not look at the disk", error)
            }
            Say.inWindow {
                looking = false
                if (list != null && qupath.project.is(project)) compareList(project, list)
                // What was saved since the look is left to the next one.
                stamps.each { data, stamp -> if (agreed[data] == before[data]) compare(data, stamp) }
            }
        }
    }

    private void compare(ImageData data, String stamp) {
        def entry = OpenImages.of(qupath)[data]
        if (entry == null) return
        def known = agreed.putIfAbsent(data, stamp)
        if (known == null || known == stamp || data in reading || warned[data] == stamp) return
        reading << data
        reader.submit {
            def fresh = null
            try {
                fresh = OpenImages.read(entry, data)
            } catch (Exception error) {
                Say.LOG.debug("Not read yet: {}", entry.imageName, error)
            }
            Say.inWindow {
                reading.remove(data)
                if (fresh != null) take(data, entry.imageName, stamp, fresh)
            }
        }
    }

    private void take(ImageData data, String name, String stamp, ImageData fresh) {
        def record = OpenImages.record(fresh)
        if (record == OpenImages.record(data)) {
            // QuPath saved it.
            agreed[data] = stamp
        } else if (data.changed && !UserObjects.same(data, fresh)) {
            warned[data] = stamp
            Say.warning("""There are new scores of $name on the disk, but $name has unsaved changes here. \
Saving the changes would overwrite the scores. File > Reload data shows the scores and drops the changes.""")
        } else {
            OpenImages.show(qupath, data, fresh)
            agreed[data] = stamp
            Say.news(record == null ? "The scores of $name were removed" : "New scores of $name are shown")
        }
    }

    private void compareList(Object project, String stamp) {
        if (listOf.is(project) && listStamp == stamp) return
        def first = !listOf.is(project)
        listOf = project
        listStamp = stamp
        if (first) return
        reader.submit {
            try {
                def fresh = OpenImages.readProject(project)
                Say.inWindow { if (qupath.project.is(project)) OpenImages.showList(qupath, fresh) }
            } catch (Exception error) {
                Say.LOG.debug("The project's list could not be read", error)
            }
        }
    }
}
