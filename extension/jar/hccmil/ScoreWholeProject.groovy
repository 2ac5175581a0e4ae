package hccmil

/** Scores every image of the project. */
class ScoreWholeProject extends Score {
    @Override
    protected boolean isWhole() {
        true
    }

    @Override
    protected List chosen() {
        def entries = qupath.project.imageList
        if (!entries) throw new Problem("The project has no images yet.")
        entries
    }
}
