package hccmil

import qupath.fx.dialogs.Dialogs
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData
import qupath.lib.projects.ProjectImageEntry

/**
 * Scores images: asks for the options, saves unsaved work, and starts the run. Nothing is private
 * here, because Groovy 4 finds no private method from a closure in a subclass's object.
 */
abstract class Score implements Runnable {
    protected final QuPathGUI qupath = QuPathGUI.instance

    /** Entries to score; empty if the user cancelled. */
    protected abstract List chosen()

    /** Whether these are all images of the project. */
    protected boolean isWhole() {
        false
    }

    @Override
    void run() {
        Say.problemsOf {
            def project = qupath.project
            if (project == null)
                throw new Problem("Open a QuPath project first: scores are stored in a project.")
            ScoreRun.requireNone()
            def command = Settings.command()
            def entries = chosen()
            if (!entries) return
            def options = new ScoreDialog(qupath, entries, whole).ask()
            if (options == null || !mayBeSaved(unsaved(entries))) return
            Ui.background({ OpenImages.readProject(project) }) { listed ->
                ScoreRun.requireNone()
                if (!qupath.project.is(project))
                    throw new Problem("Another project was opened; nothing was scored.")
                save(unsaved(entries), listed)
                def ids = whole ? null : entries.collect { it.ID }
                new ScoreRun(qupath, options.line(command, project.path.toFile(), ids)).start()
            }
        }
    }

    /** Open images with unsaved changes, among those that are to be scored. */
    protected Map unsaved(List entries) {
        def ids = entries.collect { it.ID } as Set
        OpenImages.of(qupath).findAll { data, entry -> data.changed && entry.ID in ids }
    }

    protected static boolean mayBeSaved(Map unsaved) {
        unsaved.each { data, entry -> requireNoOther(data, entry) }
        if (!unsaved) return true
        def names = unsaved.values()*.imageName.join("\n")
        Dialogs.showConfirmDialog(Say.TITLE, "Save these images before they are scored?\n\n$names")
    }

    protected static void requireNoOther(ImageData data, ProjectImageEntry entry) {
        if (Watch.differs(data))
            throw new Problem("""${entry.imageName} was written on the disk by another program since it was \
opened here. Saving it now would overwrite that.\n\nReload it first (File > Reload data).""")
    }

    protected void save(Map unsaved, Object listed) {
        unsaved.each { data, entry ->
            requireNoOther(data, entry)
            entry.saveImageData(data)
            Watch.agree(data)
            Say.LOG.info("Saved {}", entry.imageName)
        }
        // Scores that were made elsewhere stay in the list that is written now.
        OpenImages.showList(qupath, listed)
        qupath.project.syncChanges()
    }
}
