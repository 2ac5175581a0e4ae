package hccmil

import java.nio.file.Path
import java.time.Instant
import java.time.LocalTime
import java.time.format.DateTimeFormatter
import java.time.temporal.ChronoUnit
import javafx.beans.property.StringProperty
import javafx.event.EventHandler
import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.CheckBox
import javafx.scene.control.ComboBox
import javafx.scene.control.Label
import javafx.scene.control.RadioButton
import javafx.scene.control.Separator
import javafx.scene.control.TextField
import javafx.scene.control.TextInputControl
import javafx.scene.control.ToggleButton
import javafx.scene.control.ToggleGroup
import javafx.scene.control.Tooltip
import javafx.scene.input.KeyCode
import javafx.scene.input.KeyEvent
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.prefs.PathPrefs
import qupath.lib.gui.viewer.QuPathViewer

/** Leads a reviewer from tile to tile, and saves each click in the reviewer's own file. */
class ReviewWindow {
    private static final StringProperty REVIEWER =
        PathPrefs.createPersistentPreference('hccmil.reviewer', '')
    private static final Map<String, List<String>> VERDICTS = [
        'agree': ['Agree', 'A'], 'disagree': ['Disagree', 'D'],
        'artefact': ['Artefact', 'X'], 'cannot say': ["Can't say", 'C'],
    ]
    private static ReviewWindow open

    private final QuPathGUI qupath = QuPathGUI.instance
    private final QuPathViewer viewer = qupath.viewer
    private final TileWalk walk = new TileWalk(viewer)
    private final Blindfold blindfold = new Blindfold(qupath, viewer)
    private final Stage stage = new Stage()
    private final TextField reviewer = new TextField(REVIEWER.get())
    private final RadioButton blinded = new RadioButton('Blinded')
    private final RadioButton unblinded = new RadioButton('Open')
    private final TextField seed = new TextField('1')
    private final ComboBox<TileOrder> order = new ComboBox<>()
    private final ComboBox<Double> magnification = new ComboBox<>()
    private final Label heading = Ui.text('')
    private final Label facts = Ui.text('')
    private final Map<String, ToggleButton> verdicts = [:]
    private final VBox featureBox = new VBox(5)
    private final Label counted = new Label()
    private final Label saved = Ui.text('')
    private final Button previous = new Button('◀ Previous')
    private final Button next = new Button('Next ▶')
    private final Button nextOpen = new Button('Next without review (U)')
    private final CheckBox everywhere = new CheckBox('Keys also work in the image')
    private final VBox judging = new VBox(8)
    private final Runnable onMap = {
        if (!changing && (image == null || !image.is(TileMap.of(viewer).scoredOrNull()))) {
            load()
        }
    } as Runnable
    private final EventHandler<KeyEvent> onKey = { KeyEvent event -> pressed(event) } as EventHandler
    private List<FeatureRow> features = []
    private ScoredImage image
    private ReviewFile file
    private Map<Bounds, Review> reviews = [:]
    private boolean changing

    /** @throws Problem if there is nothing to review, or no project for the reviews */
    static void show() {
        def qupath = QuPathGUI.instance
        TileMap.of(qupath.viewer).scored()
        folder()
        if (open != null && !open.viewer.is(qupath.viewer)) {
            open.stage.close()
        }
        TilesWindow.close()
        open = open ?: new ReviewWindow()
        Ui.openLeft(open.stage, qupath.stage)
        open.load()
        if (open.file != null) {
            // otherwise the first keys would go into the reviewer's name
            open.stage.scene.root.requestFocus()
        }
    }

    private static Path folder() {
        def project = QuPathGUI.instance.project?.path
        if (project == null || QuPathGUI.instance.project.getEntry(QuPathGUI.instance.imageData) == null) {
            throw new Problem('Reviews are kept in a project. Open the image from a QuPath project first.')
        }
        project.parent.resolve(ReviewFile.FOLDER)
    }

    /** Closes the window, if it is open. */
    static void close() {
        open?.stage?.close()
    }

    private ReviewWindow() {
        def modes = new ToggleGroup()
        [blinded, unblinded].each { it.toggleGroup = modes; it.focusTraversable = false }
        blinded.id = 'hccmil-review-blinded'
        unblinded.id = 'hccmil-review-open'
        unblinded.selected = true
        reviewer.id = 'hccmil-reviewer'
        reviewer.promptText = 'Your name'
        order.items.setAll(TileOrder.values())
        order.value = TileOrder.RAISE
        order.focusTraversable = false
        seed.prefColumnCount = 5
        seed.tooltip = new Tooltip('The same seed gives the same order to every reviewer')
        magnification.items.setAll(TileWalk.MAGNIFICATIONS)
        magnification.value = 0d
        magnification.id = 'hccmil-review-magnification'
        magnification.converter = new Magnifications()
        magnification.focusTraversable = false
        everywhere.selected = true
        everywhere.focusTraversable = false
        heading.style = '-fx-font-weight: bold'
        build()
        stage.initOwner(qupath.stage)
        stage.title = 'HCC-MIL: review'
        stage.minWidth = 340
        stage.scene.addEventFilter(KeyEvent.KEY_PRESSED, onKey)
        qupath.stage.scene.addEventFilter(KeyEvent.KEY_PRESSED, onKey)
        listen()
        stage.setOnHidden { closed() }
    }

    private void build() {
        def orderLabel = new Label('Order')
        def seedLabel = new Label('Seed')
        [order, orderLabel].each { only(it, unblinded) }
        [seed, seedLabel].each { only(it, blinded) }
        def settings = new GridPane()
        settings.hgap = 8
        settings.vgap = 6
        settings.addRow(0, new Label('Reviewer'), reviewer)
        settings.addRow(1, new Label('Review'), new HBox(12, unblinded, blinded))
        settings.add(orderLabel, 0, 2)
        settings.add(order, 1, 2)
        settings.add(seedLabel, 0, 2)
        settings.add(seed, 1, 2)
        settings.addRow(3, new Label('Magnification'), magnification)
        GridPane.setHgrow(reviewer, Priority.ALWAYS)
        seed.maxWidth = 90

        def buttons = VERDICTS.collect { verdict, says ->
            def button = Ui.toggle("${says[0]} (${says[1]})")
            button.id = "hccmil-verdict-${says[1]}"
            button.maxWidth = Double.MAX_VALUE
            button.setOnAction { Ui.guarded { keep() } }
            verdicts[verdict] = button
            button
        }
        def group = new ToggleGroup()
        buttons.each { it.toggleGroup = group }
        def grid = new GridPane()
        grid.hgap = 6
        grid.vgap = 6
        buttons.eachWithIndex { button, at ->
            GridPane.setHgrow(button, Priority.ALWAYS)
            grid.add(button, at % 2, at.intdiv(2))
        }
        2.times {
            def column = new javafx.scene.layout.ColumnConstraints()
            column.percentWidth = 50
            grid.columnConstraints << column
        }
        [previous, next, nextOpen].each {
            it.focusTraversable = false
            it.maxWidth = Double.MAX_VALUE
            HBox.setHgrow(it, Priority.ALWAYS)
        }
        previous.setOnAction { Ui.guarded { go(walk.at - 1) } }
        next.setOnAction { Ui.guarded { go(walk.at + 1) } }
        nextOpen.setOnAction { Ui.guarded { goToOpen() } }
        facts.minHeight = 38
        facts.alignment = Pos.TOP_LEFT
        judging.children.setAll(heading, facts, new HBox(6, previous, next), nextOpen,
            new Separator(), grid, featureBox)
        def help = Ui.text('Keys: ← → Home End step through the tiles; letters and digits as shown above; '
            + '0 sets the remaining features to absent. The same key again removes a verdict.')
        help.style = '-fx-font-size: 11px'
        saved.style = '-fx-font-size: 11px'
        saved.minHeight = 30
        saved.alignment = Pos.TOP_LEFT
        def root = new VBox(10, settings, new Separator(), judging, new Separator(),
            counted, saved, everywhere, help)
        root.padding = new Insets(12)
        stage.scene = new Scene(root, 352, 690)
    }

    private static void only(node, RadioButton when) {
        node.managedProperty().bind(node.visibleProperty())
        node.visibleProperty().bind(when.selectedProperty())
    }

    private void listen() {
        TileMap.of(viewer).whenChanged(onMap)
        Ui.listen(blinded.selectedProperty()) { modeChanged() }
        Ui.listen(order.valueProperty()) { Say.LOG.info('Order of tiles: {}', it); sort(); go(0) }
        Ui.listen(seed.textProperty()) { sort(); go(0) }
        Ui.listen(magnification.valueProperty()) { walk.magnification = it; go(walk.at) }
        reviewer.setOnAction { Ui.guarded { reviewerChanged(); stage.scene.root.requestFocus() } }
        Ui.listen(reviewer.focusedProperty()) { if (!it) { reviewerChanged() } }
    }

    private void closed() {
        changing = true
        TileMap.of(viewer).forget(onMap)
        qupath.stage.scene.removeEventFilter(KeyEvent.KEY_PRESSED, onKey)
        walk.leave()
        blindfold.takeOff()
        open = null
    }

    private void modeChanged() {
        Say.LOG.info('Review: {}', blinded.selected ? 'blinded' : 'open')
        changing = true
        try {
            blinded.selected ? blindfold.putOn() : blindfold.takeOff()
        } finally {
            changing = false
        }
        sort()
        go(0)
    }

    private void reviewerChanged() {
        def name = reviewer.text.strip()
        if (name != (file?.reviewer ?: '')) {
            REVIEWER.set(name)
            Say.LOG.info('Reviewer: {}', name)
            load()
        }
    }

    /** Reads the open image, the features and the reviews so far. */
    private void load() {
        try {
            image = TileMap.of(viewer).scored()
        } catch (Problem problem) {
            image = null
            heading.text = problem.message
        }
        readFile()
        sort()
        if (walk.tile == null) {
            go(0)
        } else {
            tell()
        }
    }

    private void readFile() {
        file = null
        reviews = [:]
        features = []
        def name = reviewer.text.strip()
        try {
            def asked = Features.of(folder())
            features = asked.collect { feature -> new FeatureRow(feature, { Ui.guarded { keep() } }) }
            if (name && image != null) {
                def made = new ReviewFile(folder(), name, asked*.name)
                reviews = made.ofImage(image.entryId)
                file = made
            }
            saved.text = name ? '' : 'Type your name first. Your reviews are kept in a file of your own.'
        } catch (Problem problem) {
            saved.text = problem.message
        }
        featureBox.children.setAll(features)
        judging.disable = file == null || image == null
    }

    private void sort() {
        def tiles = image == null ? [] : image.tiles
        def chosen = blinded.selected ? TileOrder.RANDOM : order.value
        walk.take(chosen.sorted(tiles, seed.text.strip()))
        tell()
    }

    private void go(int place) {
        if (walk.go(place)) {
            tell()
        }
    }

    private void goToOpen() {
        int count = walk.tiles.size()
        def places = (1..count).collect { (walk.at + it) % count }
        def found = places.find { reviews[walk.tiles[it].bounds] == null }
        if (found == null) {
            saved.text = 'All tiles of this image have a review.'
        } else {
            go(found)
        }
    }

    /** Shows the current tile and its review. */
    private void tell() {
        def tile = walk.tile
        int count = walk.tiles.size()
        previous.disable = walk.at <= 0
        next.disable = walk.at >= count - 1
        if (image != null) {
            heading.text = tile == null ? image.name : "Tile ${walk.at + 1} of $count"
        }
        facts.text = tile == null ? '' : blinded.selected ? 'The values of the model are hidden.' : describe(tile)
        def review = tile == null ? null : reviews[tile.bounds]
        verdicts.each { verdict, button -> button.selected = review?.verdict == verdict }
        features.each { it.judgement = review?.features?.get(it.feature.name) }
        int done = reviews ? walk.count(reviews.keySet()) : 0
        counted.text = "${String.format(Locale.ROOT, '%,d', done)} of ${RunFacts.counted(count, 'tile')} reviewed"
        if (review != null && review.model != image.model) {
            facts.text += '\nReviewed when another model had scored the slide.'
        }
    }

    private static String describe(Tile tile) {
        def sign = tile.contribution < 0 ? '−' : '+'
        "Model: risk ${Ui.number(tile.risk, 3)}, ${tile.high ? 'high' : 'low'}\n" +
            "Contribution $sign${Ui.number(Math.abs(tile.contribution), 4)}, " +
            "nuclei ${Ui.percent(tile.nuclei)}"
    }

    /** Judges all features absent that are not judged. */
    private void restAbsent() {
        features.findAll { it.judgement == null }.each { it.judgement = false }
        keep()
    }

    /** Saves the review of this tile as the buttons show it. */
    private void keep() {
        def tile = walk.tile
        if (tile == null || file == null) {
            tell()
            return
        }
        def judged = features.findAll { it.judgement != null }
        def review = new Review(
            imageId: image.entryId,
            image: image.name,
            tile: tile.bounds,
            model: image.model,
            verdict: verdicts.find { verdict, button -> button.selected }?.key,
            features: judged.collectEntries { [it.feature.name, it.judgement] },
            blinded: blinded.selected,
            time: Instant.now().truncatedTo(ChronoUnit.SECONDS).toString())
        try {
            file.put(review)
        } catch (Problem problem) {
            tell()
            throw problem
        }
        if (review.empty) {
            reviews.remove(tile.bounds)
        } else {
            reviews[tile.bounds] = review
        }
        Say.LOG.info('Review of tile {}: {} {}', tile.bounds, review.verdict ?: '', review.features)
        def now = LocalTime.now().format(DateTimeFormatter.ofPattern('HH:mm:ss'))
        tell()
        saved.text = "Saved at $now in $ReviewFile.FOLDER/${file.path.fileName}"
    }

    private void pressed(KeyEvent event) {
        def away = !stage.scene.is(event.source)
        if (event.target instanceof TextInputControl || event.shortcutDown || event.altDown
                || away && !everywhere.selected) {
            return
        }
        if (act(event.code)) {
            event.consume()
        }
    }

    private boolean act(KeyCode code) {
        def name = code.name.toUpperCase(Locale.ROOT)
        def button = verdicts.find { verdict, each -> VERDICTS[verdict][1] == name }?.value
        def row = features.find { it.feature.key == name || "NUMPAD ${it.feature.key}" == name }
        def place = [(KeyCode.RIGHT): walk.at + 1, (KeyCode.LEFT): walk.at - 1,
            (KeyCode.HOME): 0, (KeyCode.END): walk.tiles.size() - 1][code]
        if (place != null) {
            Ui.guarded { go(place) }
        } else if (judging.disable) {
            return false
        } else if (button != null) {
            button.fire()
        } else if (row != null) {
            Ui.guarded { row.turn() }
        } else if (code == KeyCode.U) {
            Ui.guarded { goToOpen() }
        } else if (code in [KeyCode.DIGIT0, KeyCode.NUMPAD0]) {
            Ui.guarded { restAbsent() }
        } else {
            return false
        }
        true
    }
}
