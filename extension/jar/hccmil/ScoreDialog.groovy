package hccmil

import javafx.event.ActionEvent
import javafx.geometry.VPos
import javafx.scene.control.Button
import javafx.scene.control.ButtonType
import javafx.scene.control.CheckBox
import javafx.scene.control.Dialog
import javafx.scene.control.Label
import javafx.scene.control.ScrollPane
import javafx.scene.control.TextField
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.VBox
import javafx.stage.DirectoryChooser
import qupath.lib.gui.QuPathGUI

/** Asks which outlines are tumour, for the model and for the limit of tiles. */
class ScoreDialog {
    private static String lastModel = ""

    private final QuPathGUI qupath
    private final List entries
    private final Dialog<ButtonType> dialog = new Dialog<>()
    private final VBox classes = new VBox(4)
    private final Label counting = new Label()
    private final TextField model = new TextField(lastModel)
    private final TextField tiles = new TextField()
    private final CheckBox resume = new CheckBox("Skip what is up to date")
    private final Map<String, CheckBox> boxes = new TreeMap<>()
    private final Map<String, Integer> counts = new TreeMap<>()
    private volatile boolean closed

    ScoreDialog(QuPathGUI qupath, List entries, boolean whole) {
        this.qupath = qupath
        this.entries = entries
        resume.selected = whole
    }

    /** The options; null if the user cancelled. In the window's thread. */
    ScoreOptions ask() {
        dialog.initOwner(qupath.stage)
        dialog.title = Say.TITLE
        dialog.headerText = entries.size() == 1 ? "Score ${entries[0].imageName}" : "Score ${entries.size()} images"
        dialog.dialogPane.content = content()
        dialog.dialogPane.buttonTypes.setAll(ButtonType.OK, ButtonType.CANCEL)
        def ok = dialog.dialogPane.lookupButton(ButtonType.OK) as Button
        ok.text = "Score"
        ScoreOptions chosen = null
        ok.addEventFilter(ActionEvent.ACTION) { event ->
            try {
                chosen = options()
            } catch (Problem problem) {
                event.consume()
                Say.problem(problem.message)
            }
        }
        Say.inBackground { count() }
        def answer = dialog.showAndWait().orElse(ButtonType.CANCEL)
        closed = true
        answer == ButtonType.OK ? chosen : null
    }

    private ScoreOptions options() {
        def ticked = boxes.findAll { name, box -> box.selected }.keySet()
        if (boxes && !ticked) throw new Problem("Tick at least one class of outlines that are tumour.")
        lastModel = model.text.trim()
        new ScoreOptions(
            classes: ScoreOptions.unusual(ticked, boxes.keySet()), model: lastModel,
            maxTiles: ScoreOptions.tiles(tiles.text), resume: resume.selected)
    }

    private GridPane content() {
        model.promptText = "the model that ships"
        tiles.promptText = "all"
        def choose = new Button("Choose…")
        choose.onAction = {
            def folder = new DirectoryChooser(title: "Folder of a risk model").showDialog(dialog.owner)
            if (folder != null) model.text = folder.path
        }
        def title = new Label("Tumour outlines")
        GridPane.setValignment(title, VPos.TOP)
        counting.managedProperty().bind(counting.textProperty().isNotEmpty())
        // A project may have more classes than fit on the screen.
        def scrolled = new ScrollPane(classes)
        scrolled.fitToWidth = true
        scrolled.maxHeight = 240
        scrolled.minHeight = 22
        scrolled.style = "-fx-background-color: transparent; -fx-padding: 0"
        def grid = new GridPane()
        grid.hgap = 10
        grid.vgap = 8
        grid.addRow(0, title, new VBox(4, scrolled, counting))
        grid.addRow(1, new Label("Model"), new HBox(6, model, choose))
        grid.addRow(2, new Label("Limit of tiles"), tiles)
        grid.addRow(3, new Label(""), resume)
        grid.addRow(4, new Label(""), new Label("For research use only."))
        model.prefColumnCount = 30
        tiles.maxWidth = 90
        grid
    }

    /** Counts outlines by class, image by image: open images as they are, others from the disk. */
    private void count() {
        def open = OpenImages.of(qupath).collectEntries { data, entry -> [entry.ID, data] }
        entries.eachWithIndex { entry, number ->
            if (closed) return
            def hierarchy = open[entry.ID]?.hierarchy
            def failed = false
            try {
                hierarchy = hierarchy ?: entry.readHierarchy()
            } catch (Exception error) {
                Say.LOG.warn("The outlines of {} could not be counted", entry.imageName, error)
                failed = true
            }
            def names = failed ? [] : hierarchy.annotationObjects.collect { it.pathClass?.baseClass?.name }
            Say.inWindow { counted(names, number + 1) }
        }
    }

    private void counted(List<String> names, int number) {
        names.findAll { it }.each { counts.merge(it, 1, Integer::sum) }
        counts.each { name, n ->
            def box = boxes.computeIfAbsent(name) {
                def made = new CheckBox()
                made.selected = ScoreOptions.isTumour(name)
                made
            }
            box.text = "$name ($n)"
        }
        classes.children.setAll(boxes.values())
        counting.text = number < entries.size() ? "Counted in $number of ${entries.size()} images…"
            : boxes ? "" : "There are no outlines with a class yet."
        dialog.dialogPane.scene?.window?.sizeToScene()
    }
}
