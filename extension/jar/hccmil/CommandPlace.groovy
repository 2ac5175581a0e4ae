package hccmil

/**
 * Where the command qupath-hccmil is. PATH is asked too, but a program that was started from a dock
 * or a menu has little of it, and a conda environment is on it only while it is active.
 */
class CommandPlace {
    /** Name of the file next to the jar in which `qupath-hccmil qupath install` wrote its path. */
    static final String RECORD = "qupath-hccmil-command.txt"

    final Map<String, String> environment
    final File home
    final boolean windows

    CommandPlace(Map<String, String> environment, File home, boolean windows) {
        this.environment = environment
        this.home = home
        this.windows = windows
    }

    static CommandPlace ofThisMachine() {
        def system = System.getProperty("os.name").toLowerCase(Locale.ROOT)
        new CommandPlace(
            System.getenv(), new File(System.getProperty("user.home")), system.startsWith("windows"))
    }

    /**
     * The command.
     *
     * @param preferred path from QuPath's preferences, or nothing
     * @param folder folder with the jar, or null
     */
    File find(String preferred, File folder) {
        if (preferred?.trim()) {
            def file = new File(preferred.trim())
            if (usable(file)) return file
            throw new Problem("""There is no program $file, which QuPath's preferences name \
(Edit > Preferences > HCC-MIL).\n\nChoose another, or leave the preference empty.""")
        }
        def recorded = recorded(folder)
        if (recorded != null && usable(recorded)) return recorded
        def found = folders().collect { new File(it, name) }.find { usable(it) }
        if (found != null) return found
        def gone = recorded == null ? "" : " It was at $recorded when the extension was installed."
        throw new Problem("""The command qupath-hccmil was not found on this computer.$gone\n
Install it (pip install qupath-hccmil), then run: qupath-hccmil qupath install\n
Or name it in QuPath: Edit > Preferences > HCC-MIL.""")
    }

    String getName() {
        windows ? "qupath-hccmil.exe" : "qupath-hccmil"
    }

    private static File recorded(File folder) {
        def file = folder == null ? null : new File(folder, RECORD)
        def line = file?.isFile() ? file.getText("UTF-8").trim() : ""
        line ? new File(line) : null
    }

    private static boolean usable(File file) {
        file.isFile() && file.canExecute()
    }

    /** Folders in which pip, pipx, uv and conda put programs. */
    private List<File> folders() {
        def programs = windows ? "Scripts" : "bin"
        def path = (environment["PATH"] ?: environment["Path"] ?: "").split(File.pathSeparator)
        def found = path.findAll { it }.collect { new File(it) }
        found += ["VIRTUAL_ENV", "CONDA_PREFIX"].collect { environment[it] }.findAll { it }
            .collect { new File(it, programs) }
        found << new File(home, ".local/bin")
        if (windows) {
            found += under(environment["APPDATA"], "Python") + under(environment["LOCALAPPDATA"], "Programs/Python")
        } else {
            found += ["/opt/homebrew/bin", "/usr/local/bin"].collect { new File(it) }
            found += under(new File(home, "Library").path, "Python").collect { new File(it.parentFile, "bin") }
        }
        // conda keeps a list of its environments
        def environments = new File(home, ".conda/environments.txt")
        if (environments.isFile())
            found += environments.readLines("UTF-8").findAll { it.trim() }.collect { new File(it.trim(), programs) }
        found
    }

    private static List<File> under(String folder, String name) {
        def versions = folder ? new File(folder, name).listFiles() : null
        (versions ?: [] as File[]).sort().reverse().collect { new File(it, "Scripts") }
    }
}
