package hccmil

import java.awt.image.BufferedImage
import java.nio.file.Files
import java.nio.file.Path
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData
import qupath.lib.io.PathIO
import qupath.lib.projects.ProjectIO
import qupath.lib.projects.ProjectImageEntry

/** Images that are open in QuPath, and what lies on the disk of them. */
class OpenImages {
    static final String STEP = "HCC-MIL risk scoring"

    /** Keys of the project's list that runs of ours write; others are the user's. */
    static final List<String> OUR_KEYS = [
        "risk score", "risk group", "tiles", "model", "risk logit", "p", "threshold",
        "weights sha256", "version", "time", "mpp", "settings sha256", "annotation fingerprint"
    ].collect { "HCC-MIL $it".toString() }
    private static final List<String> OUR_CLASSES = ["HCC-MIL high risk", "HCC-MIL low risk"]

    /** Entry of each open image of the project, by its data; two viewers may share one. */
    static Map<ImageData, ProjectImageEntry> of(QuPathGUI qupath) {
        def project = qupath.project
        def found = new LinkedHashMap()
        qupath.allViewers.collect { it.imageData }.findAll { it != null }.each { data ->
            def entry = project?.getEntry(data)
            if (entry != null) found[data] = entry
        }
        found
    }

    static Path dataFile(ProjectImageEntry entry) {
        entry.entryPath.resolve("data.qpdata")
    }

    /** What tells two states of a file apart; empty where there is none. */
    static String stamp(Path file) {
        if (!Files.exists(file)) return ""
        "${Files.getLastModifiedTime(file).toMillis()} ${Files.size(file)}".toString()
    }

    /** Our record of the run whose scores an image has; null where it has none. */
    static String record(ImageData data) {
        def steps = ourSteps(data)
        steps ? steps.last().parameterMap["record"]?.toString() : null
    }

    private static List ourSteps(ImageData data) {
        data.historyWorkflow.steps.findAll { it.name == STEP }
    }

    /** The image as it is on the disk, with the slide that is open already; slow. */
    static ImageData read(ProjectImageEntry entry, ImageData open) {
        PathIO.readImageData(dataFile(entry).toFile(), null, open.server, BufferedImage)
    }

    /** Brings what was read into the open image, which goes on being shown where it is. */
    static void show(QuPathGUI qupath, ImageData open, ImageData fresh) {
        open.hierarchy.selectionModel.clearSelection()
        open.hierarchy.setHierarchy(fresh.hierarchy)
        // of the history our step alone: QuPath adds its stains to it whenever it reads an image
        open.historyWorkflow.removeSteps(ourSteps(open))
        open.historyWorkflow.addSteps(ourSteps(fresh))
        open.setChanged(false)
        // an older state would bring older scores back under the newer record
        qupath.undoRedoManager.clear()
    }

    /** The project as it is on the disk; slow. */
    static Object readProject(Object project) {
        ProjectIO.loadProject(project.path.toFile(), BufferedImage)
    }

    /**
     * Brings our values of the list on the disk into the open project. QuPath would write its old
     * list over them when it quits.
     */
    static void showList(QuPathGUI qupath, Object fresh) {
        def project = qupath.project
        def changed = false
        fresh.imageList.each { theirs ->
            def mine = project.imageList.find { it.ID == theirs.ID }
            if (mine == null) return
            OUR_KEYS.each { key ->
                def value = theirs.metadataMap[key]
                if (value == mine.metadataMap[key]) return
                changed = true
                if (value == null) mine.removeMetadataValue(key) else mine.putMetadataValue(key, value)
            }
        }
        if (changed) qupath.refreshProject()
        def known = qupath.availablePathClasses
        def missing = fresh.pathClasses.findAll { it?.name in OUR_CLASSES && !known.contains(it) }
        if (missing) known.addAll(missing)
    }
}
