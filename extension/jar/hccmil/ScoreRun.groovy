package hccmil

import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.control.ProgressBar
import javafx.scene.control.TextArea
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.Region
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.gui.QuPathGUI

/** A run of `score` in the background, and the window that shows its progress. */
class ScoreRun {
    private static final int INTERRUPTED = 130
    private static ScoreRun current

    private final QuPathGUI qupath
    private final CommandRun run
    private final ScoreLines lines = new ScoreLines()
    private final Stage stage = new Stage()
    private final Label now = new Label("Starting")
    private final ProgressBar bar = new ProgressBar()
    private final TextArea outcomes = new TextArea()
    private final Button button = new Button("Cancel")

    ScoreRun(QuPathGUI qupath, List<String> line) {
        this.qupath = qupath
        this.run = new CommandRun(line)
    }

    /** Throws a Problem if a run is in progress. */
    static void requireNone() {
        if (current != null) {
            current.stage.toFront()
            throw new Problem("A run is in progress. Wait for its end, or cancel it.")
        }
    }

    /** Shows the window and starts the run. */
    void start() {
        current = this
        Say.LOG.info(run.command.join(" "))
        window()
        stage.show()
        Say.inBackground {
            Integer code = null
            try {
                code = run.run { String line -> Say.LOG.debug(line); Say.inWindow { told(line) } }
            } finally {
                Say.inWindow { end(code) }
            }
        }
    }

    private void window() {
        stage.initOwner(qupath.stage)
        stage.title = "HCC-MIL: scoring"
        outcomes.editable = false
        outcomes.wrapText = true
        outcomes.prefRowCount = 8
        bar.maxWidth = Double.MAX_VALUE
        button.onAction = { cancelOrClose() }
        // The window stays until the run has ended.
        stage.onCloseRequest = { event ->
            if (current.is(this)) {
                event.consume()
                cancelOrClose()
            }
        }
        now.wrapText = true
        now.minHeight = Region.USE_PREF_SIZE
        def buttons = new HBox(button)
        buttons.alignment = Pos.CENTER_RIGHT
        def root = new VBox(10, now, bar, outcomes, buttons)
        VBox.setVgrow(outcomes, Priority.ALWAYS)
        root.padding = new Insets(12)
        stage.scene = new Scene(root, 640, 320)
        button.requestFocus()
    }

    private void cancelOrClose() {
        if (!current.is(this)) {
            stage.close()
            return
        }
        Say.LOG.info("The run is being cancelled")
        button.disable = true
        now.text = "Cancelling: the present image stays as it was…"
        run.cancel()
    }

    private void told(String line) {
        def told = lines.take(line)
        if (told.event == "finished") {
            write(ScoreLines.outcome(told))
            Watch.now()
        }
        if (!run.cancelled) now.text = lines.now
        bar.progress = lines.fraction
    }

    private void write(String text) {
        Say.LOG.info(text)
        outcomes.appendText(text + "\n")
    }

    private void end(Integer code) {
        current = null
        Watch.now()
        button.disable = false
        button.text = "Close"
        bar.progress = code == 0 ? 1 : 0
        now.text = code == INTERRUPTED ? "Cancelled. Images that were already scored keep their scores."
            : lines.summary ?: code == null ? "Nothing was scored" : "The command ended with exit code $code"
        Say.LOG.info(now.text)
        if (run.errorText && code != INTERRUPTED) write(run.errorText)
    }
}
