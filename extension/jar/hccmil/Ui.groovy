package hccmil

import javafx.beans.binding.Bindings
import javafx.scene.control.Label
import javafx.scene.control.ToggleButton
import javafx.scene.paint.Color
import javafx.stage.Screen
import javafx.stage.Stage
import javafx.stage.Window

/** Texts and helpers that our windows share. */
class Ui {
    static final String RESEARCH = 'For research use only; not for diagnosis or treatment.'
    static final String SURROGATE =
        "TRAINED ON SIMULATED OUTCOMES\nThe numbers of this model mean nothing for a patient."
    static final String SURROGATE_SHORT = 'Trained on simulated outcomes: the numbers mean nothing for a patient.'

    /** Colour for packed RGB. */
    static Color colour(int packed) {
        Color.rgb((packed >> 16) & 0xFF, (packed >> 8) & 0xFF, packed & 0xFF)
    }

    /** A number with the given decimals, and a decimal point in every language. */
    static String number(double value, int decimals) {
        Double.isNaN(value) ? '–' : String.format(Locale.ROOT, "%.${decimals}f", value)
    }

    /** Share in percent. */
    static String percent(double share) {
        Double.isNaN(share) ? '–' : number(share * 100, share < 0.0995 && share > 0 ? 1 : 0) + ' %'
    }

    /** Text that wraps. */
    static Label text(String says) {
        def label = new Label(says)
        label.wrapText = true
        label
    }

    /** A button that shows plainly whether it is pressed. */
    static ToggleButton toggle(String says) {
        def button = new ToggleButton(says)
        button.focusTraversable = false
        button.styleProperty().bind(Bindings.when(button.selectedProperty())
            .then('-fx-base: #1F4E79; -fx-text-fill: white; -fx-font-weight: bold').otherwise(''))
        button
    }

    /** Opens a window on the left of QuPath's, over its panes, where it covers little of the slide. */
    static void openLeft(Stage stage, Window owner) {
        open(stage) { room ->
            stage.x = Math.max(room.minX, owner.x)
            stage.y = Math.max(room.minY, Math.min(owner.y + 85, room.maxY - stage.height))
        }
    }

    /** Opens a window on the right of QuPath's, below the overview. */
    static void openRight(Stage stage, Window owner) {
        open(stage) { room ->
            stage.x = Math.max(room.minX,
                Math.min(owner.x + owner.width - 20, room.maxX) - stage.width)
            stage.y = Math.max(room.minY, Math.min(owner.y + 310, room.maxY - stage.height))
        }
    }

    private static void open(Stage stage, Closure place) {
        boolean first = Double.isNaN(stage.x)
        stage.show()
        if (first) {
            def owner = stage.owner
            def screens = Screen.getScreensForRectangle(owner.x, owner.y, owner.width, owner.height)
            place((screens ? screens.first() : Screen.primary).visualBounds)
        }
        stage.toFront()
    }

    /** Adds a listener to a property. */
    static void listen(property, Closure run) {
        property.addListener({ a, before, now -> guarded { run(now) } } as javafx.beans.value.ChangeListener)
    }

    /**
     * Works in the background, then calls {@code tell} with the result in the window's thread; a
     * problem becomes a dialog.
     */
    static void background(Closure work, Closure tell) {
        Say.inBackground {
            def found = work()
            Say.inWindow { guarded { tell(found) } }
        }
    }

    /** Runs an action; a problem or an error becomes a dialog and a line in the log. */
    static void guarded(Closure run) {
        try {
            run()
        } catch (Problem problem) {
            Say.problem(problem.message)
        } catch (Exception error) {
            Say.LOG.error('HCC-MIL', error)
            Say.problem("$error\n\nView > Show log has the details.")
        }
    }
}
