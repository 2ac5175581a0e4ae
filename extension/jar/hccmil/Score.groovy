package hccmil

import qupath.fx.dialogs.Dialogs
import qupath.lib.gui.QuPathGUI

/** Scores images: asks what is to be done, saves what is unsaved, and starts the run. */
abstract class Score implements Runnable {
    protected final QuPathGUI qupath = QuPathGUI.instance

    /** Entries that are to be scored; empty where a person thought better of it. */
    protected abstract List chosen()

    /** Whether that is all of the project. */
    protected boolean isWhole() {
        false
    }

    @Override
    void run() {
        Say.problemsOf {
            if (qupath.project == null)
                throw new Problem("Open a QuPath project first: scores are kept in a project.")
            ScoreRun.requireNone()
            def command = Settings.command()
            def entries = chosen()
            if (!entries) return
            def options = new ScoreDialog(qupath, entries, whole).ask()
            if (options == null || !saved(entries)) return
            def project = qupath.project.path.toFile()
            def ids = whole ? null : entries.collect { it.ID }
            new ScoreRun(qupath, options.line(command, project, ids)).start()
        }
    }

    /** Saves open images that have unsaved changes, and the list; false where that isn't wanted. */
    protected boolean saved(List entries) {
        def ids = entries.collect { it.ID } as Set
        def unsaved = OpenImages.of(qupath).findAll { data, entry -> data.changed && entry.ID in ids }
        unsaved.each { data, entry ->
            if (Watch.differs(data))
                throw new Problem("""Somebody has written ${entry.imageName} on the disk since it was opened here. \
Saving it now would lose that.\n\nReload it first (File > Reload data).""")
        }
        if (unsaved) {
            def names = unsaved.values()*.imageName.join("\n")
            if (!Dialogs.showConfirmDialog(Say.TITLE, "Save these images before they are scored?\n\n$names"))
                return false
        }
        unsaved.each { data, entry ->
            entry.saveImageData(data)
            Watch.agree(data)
            Say.LOG.info("Saved {}", entry.imageName)
        }
        // what was scored elsewhere since stays in the list that is written now
        OpenImages.showList(qupath, OpenImages.readProject(qupath.project))
        qupath.project.syncChanges()
        true
    }
}
