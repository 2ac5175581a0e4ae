package hccmil

/**
 * Finds the program qupath-hccmil. The PATH alone is not enough: a program that is started from a
 * dock or a menu sees little of it, and a conda environment is on it only while it is active.
 */
class CommandPlace {
    /** Name of the file next to the jar in which `qupath-hccmil qupath install` writes its path. */
    static final String RECORD = "qupath-hccmil-command.txt"

    final Map<String, String> environment
    final File home
    final boolean windows
    /** Top of the file system. */
    final File root

    CommandPlace(Map<String, String> environment, File home, boolean windows, File root = new File("/")) {
        this.environment = environment
        this.home = home
        this.windows = windows
        this.root = root
    }

    static CommandPlace ofThisMachine() {
        def system = System.getProperty("os.name").toLowerCase(Locale.ROOT)
        new CommandPlace(
            System.getenv(), new File(System.getProperty("user.home")), system.startsWith("windows"))
    }

    /**
     * Finds the program.
     *
     * @param preferred path from QuPath's preferences: the program, or a folder or environment that
     *     contains it; may be empty
     * @param folder folder of the jar, or null
     * @throws Problem if it is not found, or not where the preferences say
     */
    File find(String preferred, File folder) {
        if (preferred?.trim()) return named(preferred.trim())
        def recorded = recorded(folder)
        if (recorded != null && usable(recorded)) return recorded
        def found = folders().collect { new File(it, name) }.find { usable(it) }
        if (found != null) return found
        def gone = recorded == null ? "" : " It was at $recorded when the extension was installed."
        throw new Problem("""The program qupath-hccmil was not found on this computer.$gone\n
Install it as its README says, then run: qupath-hccmil qupath install\n
Or enter its path in QuPath: Edit > Preferences > HCC-MIL.""")
    }

    String getName() {
        windows ? "qupath-hccmil.exe" : "qupath-hccmil"
    }

    private String getPrograms() {
        windows ? "Scripts" : "bin"
    }

    private File named(String preferred) {
        // Windows copies a path with quotes around it.
        def path = preferred.replaceFirst(/^"(.*)"$/, '$1')
        def file = path ==~ "~[/\\\\].*" ? new File(home, path.substring(2)) : new File(path)
        def places = [file, new File(file, name), new File(new File(file, programs), name)]
        if (windows) places << new File(file.path + ".exe")
        def found = places.find { usable(it) }
        if (found != null) return found
        throw new Problem("""There is no program at $file, which is the path in QuPath's preferences \
(Edit > Preferences > HCC-MIL).\n\nCorrect the path, or clear it to search for the program.""")
    }

    private static File recorded(File folder) {
        def file = folder == null ? null : new File(folder, RECORD)
        def line = file?.isFile() ? file.getText("UTF-8").trim() : ""
        line ? new File(line) : null
    }

    private static boolean usable(File file) {
        file.isFile() && file.canExecute()
    }

    /** Folders into which pip, pipx, uv and conda put programs. */
    private List<File> folders() {
        def path = (environment["PATH"] ?: environment["Path"] ?: "").split(File.pathSeparator)
        def found = path.findAll { it }.collect { new File(it) }
        found += ["VIRTUAL_ENV", "CONDA_PREFIX"].collect { environment[it] }.findAll { it }
            .collect { new File(it, programs) }
        found << new File(home, ".local/bin")
        found += windows ? ofWindows() : ofMac()
        // conda keeps a list of its environments.
        def environments = new File(home, ".conda/environments.txt")
        if (environments.isFile())
            found += environments.readLines("UTF-8").findAll { it.trim() }.collect { new File(it.trim(), programs) }
        found
    }

    private List<File> ofWindows() {
        def local = environment["LOCALAPPDATA"]
        // Python of the Microsoft Store has folders of its own.
        def store = local ? versions(new File(local, "Packages"), "PythonSoftwareFoundation.Python") : []
        def places = [[environment["APPDATA"], "Python"], [local, "Programs/Python"]]
            .findAll { it[0] }.collect { new File(it[0], it[1]) }
        places += store.collect { new File(it, "LocalCache/local-packages") }
        places.collectMany { versions(it, "Python") }.collect { new File(it, programs) }
    }

    private List<File> ofMac() {
        def places = ["opt/homebrew/bin", "usr/local/bin", "opt/local/bin"].collect { new File(root, it) }
        def pythons = versions(new File(home, "Library/Python"), "") +
            versions(new File(root, "Library/Frameworks/Python.framework/Versions"), "")
        places + pythons.collect { new File(it, programs) }
    }

    /** Subfolders whose name starts with a text, from the newest version to the oldest. */
    private static List<File> versions(File folder, String start) {
        def found = folder.listFiles()?.findAll { it.directory && it.name.startsWith(start) } ?: []
        found.sort { it.name.replaceAll(/\d+/) { digits -> digits.padLeft(8, "0") } }.reverse()
    }
}
