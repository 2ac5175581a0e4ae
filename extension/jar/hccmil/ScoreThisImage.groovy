package hccmil

/** Scores the image in the active viewer. */
class ScoreThisImage extends Score {
    @Override
    protected List chosen() {
        def data = qupath.imageData
        if (data == null) throw new Problem("Open an image of the project first.")
        def entry = qupath.project.getEntry(data)
        if (entry == null)
            throw new Problem("The open image is not in the project. Add it first (File > Project > Add images).")
        [entry]
    }
}
