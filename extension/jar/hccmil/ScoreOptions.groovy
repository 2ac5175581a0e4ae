package hccmil

/** The options of a run that the user chose, as words of the command line. */
class ScoreOptions {
    /** Classes that count as tumour by default, as in the command itself. */
    static final List<String> TUMOUR = ["Tumor", "Tumour", "HCC"]

    /** Ticked classes; null for the command's default. */
    List<String> classes
    String model
    Integer maxTiles
    boolean resume

    static boolean isTumour(String name) {
        TUMOUR.any { it.equalsIgnoreCase(name) }
    }

    /** Ticked classes if they differ from the command's default, else null. */
    static List<String> unusual(Collection<String> ticked, Collection<String> all) {
        def usual = all.findAll { isTumour(it) } as Set
        (ticked as Set) == usual ? null : ticked.sort(false)
    }

    /** Number of tiles that the user typed; null for all. */
    static Integer tiles(String typed) {
        if (!typed?.trim()) return null
        def number = typed.trim()
        if (!(number ==~ /[0-9]{1,9}/) || number.toInteger() == 0)
            throw new Problem("The limit of tiles must be a whole number above 0, not: $typed")
        number.toInteger()
    }

    /**
     * The command line.
     *
     * @param command the program
     * @param project the project's file
     * @param ids entry IDs of the images; null for all
     */
    List<String> line(File command, File project, List<String> ids) {
        def words = [command.path, "score", project.path, "--engine", "native", "--progress", "json"]
        ids?.each { words.addAll(["--image", "id:$it".toString()]) }
        classes?.each { words.addAll(["--annotation-class", it]) }
        if (model) words.addAll(["--model", model])
        if (maxTiles != null) words.addAll(["--max-tiles", maxTiles.toString()])
        if (resume) words << "--resume"
        words
    }
}
