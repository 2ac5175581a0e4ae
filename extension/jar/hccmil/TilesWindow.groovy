package hccmil

import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.ComboBox
import javafx.scene.control.Label
import javafx.scene.control.TextField
import javafx.scene.control.Tooltip
import javafx.scene.image.ImageView
import javafx.scene.input.KeyCode
import javafx.scene.input.KeyEvent
import javafx.scene.layout.BorderPane
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.VBox
import javafx.stage.Stage
import org.controlsfx.control.GridCell
import org.controlsfx.control.GridView
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer

/** Thumbnails of a slide's tiles in a chosen order; a click on one goes to its place in the viewer. */
class TilesWindow {
    private static TilesWindow open

    private final QuPathGUI qupath = QuPathGUI.instance
    private final QuPathViewer viewer = qupath.viewer
    private final TileWalk walk = new TileWalk(viewer)
    private final Stage stage = new Stage()
    private final Label heading = new Label()
    private final Label facts = new Label()
    private final ComboBox<TileOrder> order = new ComboBox<>()
    private final TextField seed = new TextField('1')
    private final ComboBox<Double> magnification = new ComboBox<>()
    private final GridView<Tile> grid = new GridView<>()
    private final HBox filter = new HBox(8)
    private final Button previous = new Button('◀ Previous')
    private final Button next = new Button('Next ▶')
    private final Runnable onMap = {
        if (image == null || !image.is(TileMap.of(viewer).scoredOrNull())) {
            load()
        }
    } as Runnable
    private ScoredImage image
    private Thumbnails pictures
    private List<Double> range

    /**
     * Opens the window; it takes the place of a review, as the viewer has one current tile.
     *
     * @param range lowest risk and the risk below which tiles are shown, or null for all tiles
     * @throws Problem if the image has no scores
     */
    static void show(List<Double> range = null) {
        Blindfold.requireNone()
        TileMap.of(QuPathGUI.instance.viewer).scored()
        if (open != null && !open.viewer.is(QuPathGUI.instance.viewer)) {
            open.stage.close()
        }
        ReviewWindow.close()
        open = open ?: new TilesWindow()
        open.range = range
        open.load()
        Ui.openLeft(open.stage, open.qupath.stage)
        if (range != null) {
            open.go(0)
        }
    }

    /** Closes the window, if it is open. */
    static void close() {
        open?.stage?.close()
    }

    private TilesWindow() {
        heading.style = '-fx-font-weight: bold'
        order.items.setAll(TileOrder.values())
        order.value = TileOrder.RAISE
        order.id = 'hccmil-tiles-order'
        seed.prefColumnCount = 4
        seed.tooltip = new Tooltip('The same seed gives the same random order everywhere')
        magnification.items.setAll(TileWalk.MAGNIFICATIONS)
        magnification.value = 0d
        magnification.id = 'hccmil-tiles-magnification'
        magnification.converter = new Magnifications()
        def seedLabel = new Label('Seed')
        [seed, seedLabel].each { node ->
            node.managedProperty().bind(node.visibleProperty())
            node.visibleProperty().bind(order.valueProperty().isEqualTo(TileOrder.RANDOM))
        }
        def choices = new GridPane()
        choices.hgap = 8
        choices.vgap = 6
        choices.addRow(0, new Label('Order'), order, seedLabel, seed)
        choices.addRow(1, new Label('Magnification'), magnification)
        filter.alignment = Pos.CENTER_LEFT
        def top = new VBox(8, heading, choices, filter)
        top.padding = new Insets(12, 12, 8, 12)

        grid.id = 'hccmil-tiles'
        grid.cellWidth = Thumbnails.SIDE + 8
        grid.cellHeight = Thumbnails.SIDE + 30
        grid.horizontalCellSpacing = 3
        grid.verticalCellSpacing = 3
        grid.cellFactory = { new Cell() }

        previous.setOnAction { go(walk.at - 1) }
        next.setOnAction { go(walk.at + 1) }
        [previous, next].each {
            it.focusTraversable = false
            it.maxWidth = Double.MAX_VALUE
            HBox.setHgrow(it, Priority.ALWAYS)
        }
        def steps = new HBox(8, previous, next)
        facts.wrapText = true
        facts.minHeight = 52
        facts.alignment = Pos.TOP_LEFT
        def help = new Label('Keys: ← previous tile, → next tile. Click a tile to go there.')
        help.style = '-fx-text-fill: derive(-fx-text-background-color, 25%); -fx-font-size: 11px'
        def bottom = new VBox(8, steps, facts, help)
        bottom.padding = new Insets(8, 12, 12, 12)

        def root = new BorderPane(grid)
        root.top = top
        root.bottom = bottom
        def scene = new Scene(root, 352, 720)
        scene.addEventFilter(KeyEvent.KEY_PRESSED) { event ->
            if (event.target instanceof TextField) {
                return
            }
            if (event.code in [KeyCode.RIGHT, KeyCode.LEFT]) {
                Ui.guarded { go(walk.at + (event.code == KeyCode.RIGHT ? 1 : -1)) }
                event.consume()
            }
        }
        stage.initOwner(qupath.stage)
        stage.title = 'HCC-MIL: tiles of interest'
        stage.scene = scene
        stage.minWidth = 340
        stage.minHeight = 360
        Ui.listen(order.valueProperty()) { Say.LOG.info('Order of tiles: {}', it); sort() }
        Ui.listen(seed.textProperty()) { sort() }
        Ui.listen(magnification.valueProperty()) { walk.magnification = it; go(walk.at) }
        TileMap.of(viewer).whenChanged(onMap)
        stage.setOnHidden { closed() }
    }

    private void closed() {
        TileMap.of(viewer).forget(onMap)
        walk.leave()
        pictures?.close()
        open = null
    }

    /** Reads the tiles of the open image. */
    private void load() {
        def before = image
        try {
            image = TileMap.of(viewer).scored()
        } catch (Problem problem) {
            image = null
            heading.text = problem.message
        }
        if (image == null || !image.data.is(before?.data)) {
            pictures?.close()
            pictures = image == null ? null : new Thumbnails(image.data.server)
            walk.take([])
        }
        sort()
    }

    private void sort() {
        def tiles = image == null ? [] : range == null ? image.tiles : image.between(range[0], range[1])
        walk.take(order.value.sorted(tiles, seed.text))
        grid.items.setAll(walk.tiles)
        if (image != null) {
            heading.text = "$image.name: ${RunFacts.counted(tiles.size(), 'tile')}"
        }
        filter.children.clear()
        if (range != null) {
            def all = new Button('Show all tiles')
            all.setOnAction { range = null; sort() }
            filter.children.setAll(new Label(
                "Risk from ${Ui.number(range[0], 3)} to ${Ui.number(range[1], 3)}"), all)
        }
        filter.managed = range != null
        tell()
    }

    private void go(int place) {
        if (walk.go(place)) {
            tell()
        }
    }

    /** Describes the current tile, and marks it among the thumbnails. */
    private void tell() {
        def tile = walk.tile
        previous.disable = walk.at <= 0
        next.disable = walk.at >= walk.tiles.size() - 1
        facts.text = tile == null ? 'No tile is selected yet.' : describe(tile)
        grid.lookupAll('.hccmil-tile').each { it.userData.mark() }
        if (tile != null) {
            reveal(walk.at)
        }
    }

    private String describe(Tile tile) {
        def sign = tile.contribution < 0 ? '−' : '+'
        def place = "Tile ${walk.at + 1} of ${walk.tiles.size()}"
        def risk = "risk ${Ui.number(tile.risk, 3)}, ${tile.high ? 'high' : 'low'}"
        def rest = "contribution $sign${Ui.number(Math.abs(tile.contribution), 4)}, " +
            "nuclei ${Ui.percent(tile.nuclei)}"
        "$place: $risk\n$rest"
    }

    /** Scrolls until a thumbnail is visible. */
    private void reveal(int place) {
        def flow = grid.lookup('.virtual-flow')
        if (flow == null) {
            return
        }
        int columns = Math.max(1, (int) Math.floor(
            (grid.width - 18) / (grid.cellWidth + 2 * grid.horizontalCellSpacing)))
        int row = place.intdiv(columns)
        def first = flow.firstVisibleCell
        def last = flow.lastVisibleCell
        if (first == null || row <= first.index || row >= last.index) {
            flow.scrollTo(Math.max(0, row - 1))
        }
    }

    /** One thumbnail, with its risk below it. */
    private class Cell extends GridCell<Tile> {
        private final ImageView picture = new ImageView()
        private final Label label = new Label()
        private final VBox box = new VBox(2, picture, label)

        Cell() {
            picture.fitWidth = Thumbnails.SIDE
            picture.fitHeight = Thumbnails.SIDE
            box.alignment = Pos.TOP_CENTER
            box.padding = new Insets(2)
            box.styleClass << 'hccmil-tile'
            box.userData = this
            setOnMouseClicked { if (getItem() != null) { Ui.guarded { go(walk.tiles.indexOf(getItem())) } } }
        }

        @Override
        protected void updateItem(Tile tile, boolean empty) {
            super.updateItem(tile, empty)
            if (empty || tile == null) {
                setGraphic(null)
                return
            }
            picture.image = null
            pictures.ask(tile.bounds) { if (getItem().is(tile)) { picture.image = it } }
            label.text = "risk ${Ui.number(tile.risk, 3)}"
            label.tooltip = new Tooltip("contribution ${Ui.number(tile.contribution, 4)}")
            setGraphic(box)
            mark()
        }

        void mark() {
            def current = getItem() != null && getItem().is(walk.tile)
            def colour = getItem()?.high ? '#E69F00' : '#009E73'
            box.style = "-fx-border-color: ${current ? 'black' : colour};" +
                " -fx-border-width: ${current ? 3 : 2}; -fx-background-color: " +
                "${current ? '#FFE500' : 'transparent'};"
            label.style = '-fx-font-size: 11px; -fx-text-fill: ' +
                (current ? 'black' : '-fx-text-background-color')
        }
    }
}
