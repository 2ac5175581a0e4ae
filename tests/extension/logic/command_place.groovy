// Where the command is looked for, in folders with spaces and umlauts.
import hccmil.CommandPlace
import hccmil.Problem

def top = File.createTempDir("Programme", " für Ärzte")
def program = { String path ->
    def file = new File(top, path)
    file.parentFile.mkdirs()
    file.text = "#!/bin/sh\n"
    file.executable = true
    file
}
def home = new File(top, "Jürgen Müller")
def jar = new File(top, "QuPath/extensions")
jar.mkdirs()
def at = { Map environment, boolean windows = false -> new CommandPlace(environment, home, windows, top) }
def refused = { Closure action ->
    try { action(); null } catch (Problem problem) { problem.message }
}

// nowhere: says how to get it
def said = refused { at([PATH: ""]).find("", jar) }
assert said.contains("as its README says") && said.contains("qupath-hccmil qupath install")

// a conda environment that isn't active
def conda = program("conda environments/hcc/bin/qupath-hccmil")
new File(home, ".conda").mkdirs()
new File(home, ".conda/environments.txt").setText("$top/conda environments/base\n${conda.parentFile.parent}\n", "UTF-8")
assert at([PATH: ""]).find("", jar) == conda
assert at([:]).find(null, null) == conda

// pip --user and pipx, on macOS without a PATH too
def ofUser = program("Jürgen Müller/.local/bin/qupath-hccmil")
assert at([PATH: "/usr/bin"]).find("", jar) == ofUser

// PATH
def onPath = program("on the path/qupath-hccmil")
assert at([PATH: "${onPath.parent}${File.pathSeparator}/usr/bin".toString()]).find("", jar) == onPath

// what was written down at installation goes first
def recorded = program("Programme für alle/qupath-hccmil")
new File(jar, CommandPlace.RECORD).setText("$recorded\n", "UTF-8")
assert at([PATH: onPath.parent]).find("", jar) == recorded

// The preference goes before everything, and is never silently passed over. It may be the program,
// its folder or its environment.
def preferred = program("other/bin/qupath-hccmil")
[" $preferred ", "\"$preferred\"", preferred.parent, preferred.parentFile.parent].each {
    assert at([PATH: onPath.parent]).find(it.toString(), jar) == preferred
}
def below = program("Jürgen Müller/mein venv/bin/qupath-hccmil")
assert at([:]).find("~/mein venv", jar) == below
preferred.delete()
said = refused { at([PATH: onPath.parent]).find(preferred.path, jar) }
assert said.contains(preferred.path) && said.contains("Preferences > HCC-MIL")

// gone since: found elsewhere, or named
recorded.delete()
assert at([PATH: ""]).find("", jar) == ofUser
[ofUser, conda]*.delete()
said = refused { at([PATH: ""]).find("", jar) }
assert said.contains("It was at $recorded")

// macOS: Homebrew, MacPorts, and Python's own folders, the newest version first
["Jürgen Müller/Library/Python/3.9/bin", "Jürgen Müller/Library/Python/3.12/bin",
    "Library/Frameworks/Python.framework/Versions/3.13/bin", "opt/homebrew/bin"].each { folder ->
    if (folder.contains("Frameworks")) new File(home, "Library").deleteDir()
    def found = program("$folder/qupath-hccmil")
    assert at([PATH: "/usr/bin:/bin:/usr/sbin:/sbin"]).find("", jar) == found
}

// Windows: for one user, for all programs of a user, from the Microsoft Store, conda, and uv
def local = [Path: "", APPDATA: "$top/Roaming".toString(), LOCALAPPDATA: "$top/Local".toString()]
["Local/Packages/PythonSoftwareFoundation.Python.3.12_q/LocalCache/local-packages/Python312/Scripts",
    "Local/Programs/Python/Python39/Scripts", "Local/Programs/Python/Python313/Scripts",
    "Roaming/Python/Python312/Scripts", "Jürgen Müller/.local/bin"].each { folder ->
    def found = program("$folder/qupath-hccmil.exe")
    assert at(local, true).find("", jar) == found
}
new File(home, ".local").deleteDir()
def scripts = program("Anaconda 3/Scripts/qupath-hccmil.exe")
assert at([CONDA_PREFIX: "$top/Anaconda 3".toString()], true).find("", jar) == scripts
// with or without the suffix, which the Explorer hides
["$scripts", "$scripts" - ".exe", "\"$scripts\"", "$top/Anaconda 3"].each {
    assert at([:], true).find(it.toString(), jar) == scripts
}
top.deleteDir()
