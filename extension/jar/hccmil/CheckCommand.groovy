package hccmil

import com.google.gson.Gson
import javafx.scene.control.Alert
import javafx.scene.control.ButtonBar
import javafx.scene.control.ButtonType
import javafx.stage.FileChooser
import qupath.lib.gui.QuPathGUI

/** Shows which command is used, its version and its models; the user can choose another. */
class CheckCommand implements Runnable {
    private static final ButtonType CHOOSE =
        new ButtonType("Choose another…", ButtonBar.ButtonData.LEFT)

    @Override
    void run() {
        Say.inBackground {
            String said
            try {
                def command = Settings.command()
                said = "$command\n\n" + facts(command)
            } catch (Problem problem) {
                said = problem.message
            }
            Say.LOG.info(said)
            Say.inWindow { show(said) }
        }
    }

    /** What `doctor` finds, in lines. */
    private static String facts(File command) {
        def run = new CommandRun([command.path, "doctor", "--json"])
        def text = new StringBuilder()
        def code = run.run { text.append(it).append("\n") }
        def found
        try {
            found = new Gson().fromJson(text.toString(), List)
        } catch (RuntimeException ignored) {
            found = null
        }
        if (found == null) throw new Problem("$command is not qupath-hccmil, or it is broken (exit code $code):\n${run.errorText}")
        lines(found, Settings.version()).join("\n")
    }

    /** Findings of `doctor --json` in lines, and whether the versions agree. */
    static List<String> lines(List<Map> found, String version) {
        def wanted = found.findAll { it.needed || it.what.toString().endsWith("model") }
        def lines = wanted.collect { "${it.ok ? "" : "MISSING "}${it.what}: ${it.found}".toString() }
        def theirs = found.find { it.what == "qupath-hccmil" }?.found?.toString()?.split(",")?.first()
        if (theirs != version)
            lines << "This extension has version $version, but the command has version $theirs. Run: qupath-hccmil qupath install".toString()
        lines
    }

    private void show(String said) {
        def alert = new Alert(Alert.AlertType.INFORMATION, said, CHOOSE, ButtonType.OK)
        alert.initOwner(QuPathGUI.instance.stage)
        alert.title = Say.TITLE
        alert.headerText = "The command that HCC-MIL runs"
        alert.dialogPane.prefWidth = 640
        if (alert.showAndWait().orElse(null) != CHOOSE) return
        def chooser = new FileChooser(title: "Choose the program qupath-hccmil")
        def file = chooser.showOpenDialog(QuPathGUI.instance.stage)
        if (file == null) return
        Say.LOG.info("The command is now {}", file)
        Settings.COMMAND.set(file.path)
        run()
    }
}
