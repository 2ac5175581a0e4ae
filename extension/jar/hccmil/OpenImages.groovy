package hccmil

import java.awt.image.BufferedImage
import java.nio.file.Files
import java.nio.file.Path
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData
import qupath.lib.io.PathIO
import qupath.lib.projects.ProjectIO
import qupath.lib.projects.ProjectImageEntry

/** Images that are open in QuPath, and their files on the disk. */
class OpenImages {
    static final String STEP = "HCC-MIL risk scoring"

    /** Keys of the project's list that our runs write; others belong to the user. */
    static final List<String> OUR_KEYS = [
        "risk score", "risk group", "tiles", "model", "risk logit", "p", "threshold",
        "weights sha256", "version", "time", "mpp", "settings sha256", "annotation fingerprint"
    ].collect { "HCC-MIL $it".toString() }
    static final List<String> OUR_CLASSES = ["HCC-MIL high risk", "HCC-MIL low risk"]

    /** Entry of each open image of the project; two viewers may show the same image. */
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

    /** A text that differs between two states of a file; empty if there is no file. */
    static String stamp(Path file) {
        if (!Files.exists(file)) return ""
        "${Files.getLastModifiedTime(file).toMillis()} ${Files.size(file)}".toString()
    }

    /** Our record of the run that made the scores of an image; null if it has none. */
    static String record(ImageData data) {
        def steps = ourSteps(data)
        steps ? steps.last().parameterMap["record"]?.toString() : null
    }

    private static List ourSteps(ImageData data) {
        data.historyWorkflow.steps.findAll { it.name == STEP }
    }

    /** Reads an image from the disk, except for the slide, which is open already; slow. */
    static ImageData read(ProjectImageEntry entry, ImageData open) {
        PathIO.readImageData(dataFile(entry).toFile(), null, open.server, BufferedImage)
    }

    /** Shows what was read in the open image; its viewer stays where it is. */
    static void show(QuPathGUI qupath, ImageData open, ImageData fresh) {
        def changed = open.changed
        open.hierarchy.selectionModel.clearSelection()
        open.hierarchy.setHierarchy(fresh.hierarchy)
        // Only our step of the history: QuPath adds its stains to it whenever it reads an image.
        open.historyWorkflow.removeSteps(ourSteps(open))
        open.historyWorkflow.addSteps(ourSteps(fresh))
        open.setChanged(changed)
        // An older state would bring back older scores under the newer record.
        qupath.undoRedoManager.clear()
    }

    /** Reads the project from the disk; slow. */
    static Object readProject(Object project) {
        ProjectIO.loadProject(project.path.toFile(), BufferedImage)
    }

    /**
     * Copies our values from the list on the disk into the open project. Otherwise QuPath would
     * overwrite them with its old list when it quits.
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
