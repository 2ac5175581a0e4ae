package hccmil

import javafx.geometry.Insets
import javafx.geometry.Pos
import javafx.scene.canvas.Canvas
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.Region
import javafx.scene.layout.VBox
import javafx.scene.paint.Color
import javafx.scene.shape.Rectangle
import qupath.lib.gui.viewer.QuPathViewer

/** Legend of the map, in the upper left corner of the viewer. */
class MapLegend {
    static final String ID = 'hccmil-legend'
    private static final int WIDTH = 230
    private static final int BAR = 14

    private final QuPathViewer viewer
    private final Runnable hide
    private final VBox box = new VBox(4)

    MapLegend(QuPathViewer viewer, Runnable hide) {
        this.viewer = viewer
        this.hide = hide
        box.id = ID
        box.padding = new Insets(8, 10, 8, 10)
        // the viewer's pane would stretch it
        box.managed = false
        box.style = '-fx-background-color: rgba(255, 255, 255, 0.92); -fx-background-radius: 4;' +
            ' -fx-border-color: #767676; -fx-border-radius: 4; -fx-font-size: 12px;'
    }

    /** Shows the legend of a map; hides it if the image is null. */
    void show(MapKind kind, ScoredImage image) {
        def children = viewer.view.children
        children.remove(box)
        if (kind == MapKind.NOTHING || image == null) {
            return
        }
        box.children.setAll(head(kind))
        switch (kind) {
            case MapKind.CLASSES:
                def low = image.tiles.size() - image.highTiles
                def threshold = Ui.number(image.threshold, 4)
                box.children << swatch(RiskColours.HIGH, "High risk, above $threshold: $image.highTiles")
                box.children << swatch(RiskColours.LOW, "Low risk: $low")
                break
            case MapKind.RISK:
                box.children << bar { RiskColours.diverging(it, 0, image.threshold, 1) }
                box.children << ticks([0d: '0', 1d: '1',
                    (image.threshold): Ui.number(image.threshold, 4)])
                box.children << text('White is the threshold. The same colours on every slide.')
                break
            case MapKind.CONTRIBUTION:
                def most = MapKind.mostContribution(image)
                box.children << bar { RiskColours.diverging(it * 2 - 1, -1, 0, 1) }
                box.children << ticks([0d: '−' + Ui.number(most, 3), 0.5d: '0',
                    1d: '+' + Ui.number(most, 3)])
                box.children << text("Amber tiles raise the slide's risk, teal tiles lower it. "
                    + "The range is that of this slide.")
                break
            default:
                def most = Math.round(MapKind.MOST_NUCLEI * 100)
                box.children << bar { RiskColours.sequential(it, 0, 1) }
                box.children << ticks([0d: '0 %', 1d: "$most % or more".toString()])
                box.children << text('Share of the tile that nuclei cover. Grey: not known.')
        }
        if (image.facts?.surrogate) {
            def warning = text(Ui.SURROGATE_SHORT)
            warning.style = '-fx-font-weight: bold; -fx-text-fill: #8A3B00;'
            box.children << warning
        }
        children << box
        box.applyCss()
        box.autosize()
        box.relocate(10, 10)
    }

    private HBox head(MapKind kind) {
        def title = new Label(kind == MapKind.CLASSES
            ? kind.title : "Tile map: ${kind.title.toLowerCase(Locale.ROOT)}")
        title.style = '-fx-font-weight: bold; -fx-text-fill: black;'
        def space = new Region()
        HBox.setHgrow(space, Priority.ALWAYS)
        def close = new Button('✕')
        close.style = '-fx-background-color: transparent; -fx-padding: 0 2 0 2; -fx-text-fill: #333333;'
        close.accessibleText = 'Hide the map'
        close.focusTraversable = false
        close.setOnAction { hide.run() }
        def head = new HBox(8, title, space, close)
        head.alignment = Pos.CENTER_LEFT
        head
    }

    private HBox swatch(int colour, String says) {
        def square = new Rectangle(14, 14, Ui.colour(colour))
        square.stroke = Color.gray(0.4)
        def row = new HBox(6, square, text(says))
        row.alignment = Pos.CENTER_LEFT
        row
    }

    private Canvas bar(Closure<Integer> colourAt) {
        def canvas = new Canvas(WIDTH, BAR)
        def paint = canvas.graphicsContext2D
        for (int x = 0; x < WIDTH; x++) {
            paint.fill = Ui.colour(colourAt((x + 0.5d) / WIDTH))
            paint.fillRect(x, 0, 1, BAR)
        }
        paint.stroke = Color.gray(0.4)
        paint.strokeRect(0.5, 0.5, WIDTH - 1, BAR - 1)
        canvas
    }

    /** Labels below a bar, each centred on its value; those at the ends stay inside the bar. */
    private Canvas ticks(Map<Double, String> labels) {
        def canvas = new Canvas(WIDTH, 16)
        def paint = canvas.graphicsContext2D
        paint.fill = Color.BLACK
        paint.font = javafx.scene.text.Font.font(11)
        labels.each { place, label ->
            paint.textAlign = place <= 0.05d ? javafx.scene.text.TextAlignment.LEFT
                : place >= 0.95d ? javafx.scene.text.TextAlignment.RIGHT
                : javafx.scene.text.TextAlignment.CENTER
            paint.fillText(label, place * WIDTH, 12)
        }
        canvas
    }

    private Label text(String says) {
        def label = new Label(says)
        label.style = '-fx-text-fill: black;'
        label.wrapText = true
        label.maxWidth = WIDTH
        label
    }
}
