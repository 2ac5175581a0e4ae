package hccmil

import javafx.geometry.Insets
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.CheckBox
import javafx.scene.control.Label
import javafx.scene.control.RadioButton
import javafx.scene.control.Slider
import javafx.scene.control.ToggleGroup
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.gui.QuPathGUI

/** The small window in which the map of the viewer is chosen. */
class TileMapPanel {
    private static TileMapPanel open

    private final QuPathGUI qupath = QuPathGUI.instance
    private final Stage stage = new Stage()
    private final ToggleGroup kinds = new ToggleGroup()
    private final Slider opacity = new Slider(0.1, 1, 0.5)
    private final Label percent = new Label()
    private final CheckBox fill = new CheckBox('Fill the tiles')
    private final Runnable onMap = { read(map()) } as Runnable
    private TileMap followed
    private boolean setting

    /**
     * Shows a map, and the window in which it can be changed.
     *
     * @throws Problem if the image has no scores
     */
    static void show(MapKind kind) {
        Blindfold.requireNone()
        def map = TileMap.of(QuPathGUI.instance.viewer)
        map.show(kind)
        if (open == null) {
            open = new TileMapPanel()
        }
        open.read(map)
        Ui.openRight(open.stage, open.qupath.stage)
    }

    /** Closes the window, if it is open. */
    static void close() {
        open?.stage?.close()
    }

    private TileMapPanel() {
        def choices = MapKind.values().collect { kind ->
            def button = new RadioButton(kind == MapKind.NOTHING ? 'Nothing' : kind.title)
            button.id = "hccmil-map-${kind.name().toLowerCase(Locale.ROOT)}"
            button.toggleGroup = kinds
            button.userData = kind
            button
        }
        fill.id = 'hccmil-map-fill'
        opacity.id = 'hccmil-map-opacity'
        percent.minWidth = 45
        HBox.setHgrow(opacity, Priority.ALWAYS)
        def slider = new HBox(8, new Label('Opacity'), opacity, percent)
        slider.alignment = javafx.geometry.Pos.CENTER_LEFT
        def close = new Button('Hide and close')
        close.setOnAction { Ui.guarded { map().show(MapKind.NOTHING); stage.hide() } }
        def root = new VBox(8, new Label('Show in the image'), *choices, fill, slider, close)
        root.padding = new Insets(12)
        VBox.setMargin(fill, new Insets(4, 0, 0, 0))
        stage.initOwner(qupath.stage)
        stage.title = 'HCC-MIL: map of tiles'
        stage.scene = new Scene(root, 280, 290)
        Ui.listen(kinds.selectedToggleProperty()) {
            if (it != null && !setting) {
                map().show(it.userData)
            }
        }
        Ui.listen(opacity.valueProperty()) { apply() }
        Ui.listen(fill.selectedProperty()) { apply() }
        Ui.listen(qupath.viewerProperty()) { if (it != null) { follow() } }
        follow()
    }

    /** Follows the map of the active viewer, whatever changes it. */
    private void follow() {
        followed?.forget(onMap)
        followed = map()
        followed.whenChanged(onMap)
        read(followed)
    }

    private TileMap map() {
        TileMap.of(qupath.viewer)
    }

    private void apply() {
        if (!setting) {
            map().show(map().kind, opacity.value, fill.selected)
        }
    }

    /** Shows the state of a map. */
    private void read(TileMap map) {
        if (setting) {
            return
        }
        setting = true
        try {
            kinds.selectToggle(kinds.toggles.find { it.userData == map.kind })
            fill.selected = map.filled
            fill.disable = map.kind != MapKind.CLASSES
            opacity.disable = map.kind == MapKind.NOTHING ||
                map.kind == MapKind.CLASSES && !map.filled
            opacity.value = map.opacity
            percent.text = Math.round(map.opacity * 100) + ' %'
        } finally {
            setting = false
        }
    }
}
