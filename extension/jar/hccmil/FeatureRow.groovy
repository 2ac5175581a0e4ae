package hccmil

import javafx.geometry.Pos
import javafx.scene.control.Label
import javafx.scene.control.ToggleButton
import javafx.scene.layout.HBox
import javafx.scene.layout.Priority
import javafx.scene.layout.Region

/** Buttons for a feature: present, absent or, if neither is pressed, not judged. */
class FeatureRow extends HBox {
    final Feature feature
    private final ToggleButton present = Ui.toggle('Present')
    private final ToggleButton absent = Ui.toggle('Absent')
    private final Closure judged

    /** @param judged called when the reviewer changed the judgement */
    FeatureRow(Feature feature, Closure judged) {
        super(6)
        this.feature = feature
        this.judged = judged
        alignment = Pos.CENTER_LEFT
        def key = new Label(feature.key)
        key.style = '-fx-border-color: derive(-fx-text-background-color, 50%); -fx-border-radius: 3;' +
            ' -fx-padding: 1 6 1 6; -fx-font-size: 11px'
        key.minWidth = Region.USE_PREF_SIZE
        def name = new Label(feature.name)
        name.wrapText = true
        name.maxWidth = Double.MAX_VALUE
        setHgrow(name, Priority.ALWAYS)
        [present, absent].each { button ->
            button.minWidth = Region.USE_PREF_SIZE
            button.accessibleText = "$feature.name: ${button.text.toLowerCase(Locale.ROOT)}"
        }
        present.setOnAction { if (present.selected) { absent.selected = false }; judged() }
        absent.setOnAction { if (absent.selected) { present.selected = false }; judged() }
        children.setAll(key, name, present, absent)
    }

    /** True for present, false for absent, null for not judged. */
    Boolean getJudgement() {
        present.selected ? true : absent.selected ? false : null
    }

    void setJudgement(Boolean judgement) {
        present.selected = judgement == true
        absent.selected = judgement == false
    }

    /** Steps from not judged to present, to absent, and back. */
    void turn() {
        setJudgement(getJudgement() == null ? true : getJudgement() ? false : null)
        judged()
    }
}
