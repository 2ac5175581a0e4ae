// Scored by qupath-hccmil $version, engine $engine, model $model. For research use only.
// Scores the open image again; in "Run for project", each image.
import java.awt.image.BufferedImage
import qupath.lib.io.PathIO
import qupath.lib.projects.ProjectIO

def options = $options
def weights = $weights
def ourKeys = $keys
def step = $step

def data = getCurrentImageData()
def entry = getProjectEntry()
if (entry == null) throw new RuntimeException("Open an image of a project first.")
def project = getProject().getPath()
def file = entry.getEntryPath().resolve("data.qpdata").toFile()
def read = { PathIO.readImageData(file, null, data.getServer(), BufferedImage) }
def ours = { image -> image.getHistoryWorkflow().getSteps().findAll { it.getName() == step } }
def record = { image -> ours(image) ? String.valueOf(ours(image).last().getParameterMap()["record"]) : null }

// The command is searched for at its path, then where QuPath's extension finds it, then on the PATH.
def places = [$command]
try {
    places << qupath.lib.gui.prefs.PathPrefs.createPersistentPreference("hccmil.command", "").get()
    def extensions = qupath.lib.gui.UserDirectoryManager.getInstance().getExtensionsPath()
    places << new File(extensions.toFile(), "qupath-hccmil-command.txt").getText("UTF-8").trim()
} catch (Exception | LinkageError missing) {
    // This QuPath has no window, or not the extension.
}
(System.getenv("PATH") ?: "").split(File.pathSeparator).each { folder ->
    ["qupath-hccmil", "qupath-hccmil.exe"].each { places << new File(folder, it).getPath() }
}
def command = places.find { it && new File(it).isFile() && new File(it).canExecute() }
if (command == null) throw new RuntimeException("The program qupath-hccmil is not on this computer" +
    " (not at " + places[0] + ", nor where QuPath's extension HCC-MIL or the PATH say). Install it as its README" +
    " says, then run: qupath-hccmil qupath install")

// The image on the disk is scored; newer scores there must not be overwritten.
if (file.isFile() && record(read()) != record(data)) throw new RuntimeException(
    entry.getImageName() + " was scored by another run since it was opened. Choose File > Reload data, then run this again.")
if (data.isChanged() || !file.isFile()) entry.saveImageData(data)

def words = [command, "score", project.toString(), "--image", "id:" + entry.getID()] + options
def builder = new ProcessBuilder(words.collect { it.toString() }).redirectErrorStream(true)
builder.environment().put("PYTHONUTF8", "1")
def run = builder.start()
run.getOutputStream().close()
def said = []
run.getInputStream().eachLine("UTF-8") { said << it; println it }
if (run.waitFor() != 0) throw new RuntimeException("qupath-hccmil did not score " + entry.getImageName() + ":\n" + said.join("\n"))

// QuPath saves the image and the list that it has in memory, so both get what the command wrote.
def fresh = read()
data.getHierarchy().getSelectionModel().clearSelection()
data.getHierarchy().setHierarchy(fresh.getHierarchy())
data.getHistoryWorkflow().removeSteps(ours(data))
data.getHistoryWorkflow().addSteps(ours(fresh))
data.setChanged(false)
def listed = ProjectIO.loadProject(project.toFile(), BufferedImage).getImageList().find { it.getID() == entry.getID() }
ourKeys.each { key ->
    def value = listed.getMetadataMap()[key]
    if (value == null) entry.removeMetadataValue(key) else entry.putMetadataValue(key, value)
}
if (!record(data).contains(weights)) println "Note: this model differs from the model that was used when this script was made."
