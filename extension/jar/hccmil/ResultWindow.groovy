package hccmil

import java.time.ZoneId
import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.Node
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.control.ScrollPane
import javafx.scene.control.ToggleButton
import javafx.scene.layout.ColumnConstraints
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.Region
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer

/** Shows the result of the open image and what it is based on. */
class ResultWindow {
    private static final int WIDTH = 320
    private static final String UNSAVED =
        'Not known: this image has unsaved changes. Save it, then open this window again.'
    private static ResultWindow open

    private final QuPathGUI qupath = QuPathGUI.instance
    private final QuPathViewer viewer = qupath.viewer
    private final Stage stage = new Stage()
    private final VBox content = new VBox(10)
    private final Label state = Ui.text('')
    private final Runnable onMap = { load() } as Runnable
    private ScoredImage shown

    /** @throws Problem if the image has no scores */
    static void show() {
        Blindfold.requireNone()
        TileMap.of(QuPathGUI.instance.viewer).scored()
        if (open != null && !open.viewer.is(QuPathGUI.instance.viewer)) {
            open.stage.close()
        }
        open = open ?: new ResultWindow()
        open.shown = null
        open.load()
        Ui.openLeft(open.stage, open.qupath.stage)
    }

    /** Closes the window, if it is open. */
    static void close() {
        open?.stage?.close()
    }

    private ResultWindow() {
        content.padding = new Insets(12)
        def scroll = new ScrollPane(content)
        scroll.fitToWidth = true
        scroll.hbarPolicy = ScrollPane.ScrollBarPolicy.NEVER
        stage.initOwner(qupath.stage)
        stage.title = 'HCC-MIL: result'
        stage.scene = new Scene(scroll, WIDTH + 32, 720)
        TileMap.of(viewer).whenChanged(onMap)
        stage.setOnHidden {
            TileMap.of(viewer).forget(onMap)
            TileMap.of(viewer).showLeftOut([])
            open = null
        }
    }

    /** Shows the open image if it is another one or has new scores. */
    private void load() {
        ScoredImage image
        try {
            image = TileMap.of(viewer).scored()
        } catch (Problem problem) {
            shown = null
            content.children.setAll(Ui.text(problem.message))
            return
        }
        if (shown != null && shown.data.is(image.data) && shown.facts?.time == image.facts?.time
                && shown.tiles.size() == image.tiles.size()) {
            if (image.data.changed) {
                state.text = UNSAVED
            }
            return
        }
        shown = image
        content.children.setAll(parts(image).findAll { it != null })
    }

    private List<Node> parts(ScoredImage image) {
        def name = Ui.text(image.name)
        name.style = '-fx-font-weight: bold; -fx-font-size: 14px'
        def buttons = tileButtons()
        [warning(image), name, verdict(image), chart(image), facts(image), leftOut(image), buttons,
            small(Ui.RESEARCH)]
    }

    /** The warning about the model, in words that nobody misses. */
    private Node warning(ScoredImage image) {
        if (image.facts != null && !image.facts.surrogate) {
            return null
        }
        def text = Ui.text(image.facts == null
            ? 'These scores have no record that this version can read, so their model is unknown. '
                + 'Score the image again.'
            : Ui.SURROGATE)
        text.maxWidth = Double.MAX_VALUE
        text.padding = new Insets(8, 10, 8, 10)
        text.style = '-fx-background-color: #FFD54A; -fx-text-fill: black; -fx-font-weight: bold;' +
            ' -fx-border-color: #8A3B00; -fx-border-width: 1; -fx-background-radius: 3;' +
            ' -fx-border-radius: 3;'
        text.id = 'hccmil-surrogate'
        text
    }

    private Node verdict(ScoredImage image) {
        if (image.facts == null) {
            return null
        }
        boolean high = image.facts.high
        def group = new Label(high ? 'HIGH RISK' : 'LOW RISK')
        group.minWidth = Region.USE_PREF_SIZE
        group.padding = new Insets(5, 10, 5, 10)
        group.style = '-fx-font-weight: bold; -fx-font-size: 15px; -fx-background-radius: 3;' +
            (high ? ' -fx-background-color: #E69F00; -fx-text-fill: black;'
                : ' -fx-background-color: #00694D; -fx-text-fill: white;')
        def number = new Label(Ui.number(image.facts.risk, 4))
        number.style = '-fx-font-size: 22px; -fx-font-weight: bold'
        number.minWidth = Region.USE_PREF_SIZE
        number.id = 'hccmil-risk'
        def row = new HBox(10, group, number)
        row.alignment = Pos.CENTER_LEFT
        def threshold = Ui.number(image.threshold, 4)
        def says = small("Risk of the slide, from 0 to 1. It is ${high ? 'above' : 'not above'} the model's "
            + "threshold $threshold. It is not a probability of recurrence within a certain time.")
        new VBox(4, row, says)
    }

    private Node chart(ScoredImage image) {
        def histogram = new Histogram(image.tiles*.risk, image.threshold)
        def chart = new HistogramChart(histogram, image.threshold, WIDTH - 4, 140,
            { range -> Ui.guarded { TilesWindow.show(range) } })
        new VBox(3, bold('Tiles by risk'), chart, small('Click a bar to go to its tiles.'))
    }

    private Node facts(ScoredImage image) {
        def grid = new GridPane()
        grid.hgap = 10
        grid.vgap = 5
        def names = new ColumnConstraints()
        names.minWidth = Region.USE_PREF_SIZE
        def values = new ColumnConstraints()
        values.hgrow = Priority.ALWAYS
        grid.columnConstraints.setAll(names, values)
        int row = 0
        rows(image).each { key, value ->
            def title = new Label(key)
            title.style = '-fx-text-fill: derive(-fx-text-background-color, 30%)'
            GridPane.setValignment(title, javafx.geometry.VPos.TOP)
            grid.addRow(row++, title, value instanceof Node ? value : Ui.text(value))
        }
        grid
    }

    private Map<String, Object> rows(ScoredImage image) {
        int tiles = image.tiles.size()
        Map<String, Object> rows = [:]
        rows['Tiles'] = RunFacts.counted(tiles, 'tile').toString()
        rows['High risk'] = "${RunFacts.counted(image.highTiles, 'tile')} " +
            "(${Ui.percent(image.highTiles / tiles as double)})"
        def facts = image.facts
        if (facts == null) {
            return rows
        }
        def names = outlineNames(image)
        def lines = facts.outlines.withIndex().collect { each, at ->
            "${names[each.id] ?: 'Outline ' + (at + 1) + ', deleted since'}: " +
                RunFacts.counted(each.tiles + each.left, 'tile')
        }
        def most = lines.size() > 8 ? lines.take(7) + ["and ${lines.size() - 7} more".toString()] : lines
        rows[lines.size() == 1 ? 'Outline' : 'Outlines'] = most.join('\n')
        rows['Pixel size'] = facts.pixelSize()
        rows['Up to date'] = state
        rows['Model'] = facts.model + (facts.surrogate ? ' (surrogate)' : '')
        rows['Scored'] = "${facts.when(ZoneId.systemDefault())}, by version $facts.version".toString()
        if (shown.data.changed) {
            state.text = UNSAVED
        } else {
            state.text = 'Checking…'
            UpToDate.check(image) { says ->
                if (image.is(shown) && !image.data.changed) {
                    state.text = says
                }
            }
        }
        rows
    }

    private static Map<String, String> outlineNames(ScoredImage image) {
        image.data.hierarchy.annotationObjects.collectEntries { each ->
            [each.getID().toString(), each.name ?: each.pathClass?.toString() ?: 'Outline']
        }
    }

    private Node leftOut(ScoredImage image) {
        if (image.facts == null) {
            return null
        }
        def lines = image.facts.leftOut()
        if (!lines) {
            lines = ['no tile of the grid']
        }
        def share = Ui.percent(image.facts.minInside)
        def edges = small("Edges of an outline that fill less than $share of a tile have no tile.")
        def box = new VBox(3, bold('Left out'), *lines.collect { Ui.text("• $it") }, edges)
        if (image.facts.background + image.facts.blurred > 0 || image.facts.maxTiles != null) {
            def button = new ToggleButton('Show these places')
            button.id = 'hccmil-left-out'
            def says = small('')
            button.setOnAction { Ui.guarded { showPlaces(image, button, says) } }
            VBox.setMargin(button, new Insets(4, 0, 0, 0))
            box.children.addAll(button, says)
        }
        box
    }

    private void showPlaces(ScoredImage image, ToggleButton button, Label says) {
        def map = TileMap.of(viewer)
        if (!button.selected) {
            map.showLeftOut([])
            says.text = ''
            return
        }
        Say.LOG.info('Places that were left out')
        says.text = 'Searching…'
        def ids = image.facts.outlines*.id as Set
        def outlines = image.data.hierarchy.annotationObjects
            .findAll { it.getID().toString() in ids && it.ROI?.area }.collect { it.ROI.geometry }
        def server = image.data.server
        Ui.background({
            LeftOut.places(outlines, image.tiles*.bounds, image.facts.minInside,
                server.width, server.height)
        }) { places ->
            if (!button.selected || !image.is(shown)) {
                return
            }
            map.showLeftOut(places)
            says.text = "${RunFacts.counted(places.size(), 'place')} crossed out in the image: "
                .concat('tiles of the grid inside the outlines that have no score.')
                .concat(wasChanged(image.facts, places.size()))
        }
    }

    /** Says that outlines were changed, where the number of places shows it. */
    private static String wasChanged(RunFacts facts, int places) {
        int expected = facts.background + facts.blurred
        // with a limit, or with tiles that the user took over, there are more places
        facts.maxTiles != null || facts.left > 0 || places == expected ? ''
            : " The run left out $expected, so the outlines were changed since."
    }

    private Node tileButtons() {
        def tiles = new Button('Tiles of interest…')
        tiles.setOnAction { Ui.guarded { TilesWindow.show() } }
        def map = new Button('Risk map…')
        map.setOnAction { Ui.guarded { TileMapPanel.show(MapKind.RISK) } }
        new HBox(8, tiles, map)
    }

    private static Label bold(String says) {
        def label = new Label(says)
        label.style = '-fx-font-weight: bold'
        label
    }

    private static Label small(String says) {
        def label = Ui.text(says)
        label.style = '-fx-font-size: 11px; -fx-text-fill: derive(-fx-text-background-color, 20%)'
        label
    }
}
