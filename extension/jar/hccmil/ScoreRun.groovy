package hccmil

import javafx.geometry.Insets
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.control.ProgressBar
import javafx.scene.control.TextArea
import javafx.scene.layout.Priority
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.gui.QuPathGUI

/** A run of `score` in the background: its window, and what it writes as soon as it is there. */
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

    /** A problem where a run is under way. */
    static void requireNone() {
        if (current != null) {
            current.stage.toFront()
            throw new Problem("A run is under way; cancel it or wait for its end.")
        }
    }

    /** Shows the window and starts. */
    void start() {
        current = this
        Say.LOG.info(run.command.join(" "))
        window()
        stage.show()
        Say.inBackground {
            def code = -1
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
        // the window goes when the run has come to its end
        stage.onCloseRequest = { event ->
            if (current.is(this)) {
                event.consume()
                cancelOrClose()
            }
        }
        def root = new VBox(10, now, bar, outcomes, button)
        VBox.setVgrow(outcomes, Priority.ALWAYS)
        root.padding = new Insets(12)
        stage.scene = new Scene(root, 640, 320)
    }

    private void cancelOrClose() {
        if (!current.is(this)) {
            stage.close()
            return
        }
        Say.LOG.info("The run is being cancelled")
        button.disable = true
        now.text = "Ending: the slide at hand is left as it was…"
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

    private void end(int code) {
        current = null
        Watch.now()
        button.disable = false
        button.text = "Close"
        bar.progress = code == 0 ? 1 : 0
        if (run.errorText && code != INTERRUPTED) write(run.errorText)
        now.text = code == INTERRUPTED ? "Cancelled; what was already written is complete"
            : lines.summary ?: "Nothing was scored (exit code $code)"
        Say.LOG.info(now.text)
    }
}
