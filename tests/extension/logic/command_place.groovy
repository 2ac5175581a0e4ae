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
def at = { Map environment, boolean windows = false -> new CommandPlace(environment, home, windows) }
def refused = { Closure action ->
    try { action(); null } catch (Problem problem) { problem.message }
}

// nowhere: says how to get it
def said = refused { at([PATH: ""]).find("", jar) }
assert said.contains("pip install qupath-hccmil") && said.contains("qupath-hccmil qupath install")

// a conda environment that isn't active
def conda = program("conda environments/hcc/bin/qupath-hccmil")
new File(home, ".conda").mkdirs()
new File(home, ".conda/environments.txt").setText("$top/conda environments/base\n${conda.parentFile.parent}\n", "UTF-8")
assert at([PATH: ""]).find("", jar) == conda
assert at([:]).find(null, null) == conda

// pip --user and pipx, on macOS without a PATH too
def local = program("Jürgen Müller/.local/bin/qupath-hccmil")
assert at([PATH: "/usr/bin"]).find("", jar) == local

// PATH
def onPath = program("on the path/qupath-hccmil")
assert at([PATH: "${onPath.parent}${File.pathSeparator}/usr/bin".toString()]).find("", jar) == onPath

// what was written down at installation goes first
def recorded = program("Programme für alle/qupath-hccmil")
new File(jar, CommandPlace.RECORD).setText("$recorded\n", "UTF-8")
assert at([PATH: onPath.parent]).find("", jar) == recorded

// and the preference before all; it is never silently passed over
def preferred = program("other/qupath-hccmil")
assert at([PATH: onPath.parent]).find(" $preferred ", jar) == preferred
preferred.delete()
said = refused { at([PATH: onPath.parent]).find(preferred.path, jar) }
assert said.contains(preferred.path) && said.contains("Preferences > HCC-MIL")

// gone since: found elsewhere, or named
recorded.delete()
assert at([PATH: ""]).find("", jar) == local
[local, conda]*.delete()
said = refused { at([PATH: ""]).find("", jar) }
assert said.contains("It was at $recorded")

// Windows
def windows = program("AppData/Roaming/Python/Python312/Scripts/qupath-hccmil.exe")
assert at([Path: "", APPDATA: "$top/AppData/Roaming".toString()], true).find("", jar) == windows
top.deleteDir()
