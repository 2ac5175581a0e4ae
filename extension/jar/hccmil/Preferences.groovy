package hccmil

import javafx.beans.property.SimpleObjectProperty
import javafx.beans.value.ObservableValue
import javafx.scene.control.Button
import org.controlsfx.control.PropertySheet
import org.controlsfx.property.editor.AbstractPropertyEditor
import org.controlsfx.property.editor.PropertyEditor
import qupath.fx.prefs.controlsfx.PropertyItemBuilder
import qupath.lib.gui.QuPathGUI

/** The section HCC-MIL of QuPath's preferences: the command, and a button that tests it. */
class Preferences {
    private static final String CATEGORY = "HCC-MIL"

    static void install(QuPathGUI qupath) {
        def items = qupath.preferencePane.propertySheet.items
        // A jar that is dropped on QuPath may be loaded twice.
        items.removeIf { it.category == CATEGORY }
        items << new PropertyItemBuilder(Settings.COMMAND, String)
            .name("Command").category(CATEGORY)
            .description("Path of the program qupath-hccmil, or of its environment; if empty, it is searched for").build()
        items << new TestItem()
    }

    /** A row of the preferences with a button instead of a value. */
    static class TestItem implements PropertySheet.Item {
        Class<?> getType() { Object }
        String getCategory() { CATEGORY }
        String getName() { "Test the command" }
        String getDescription() { "Shows the version and the models of the program qupath-hccmil" }
        Object getValue() { null }
        void setValue(Object value) {}
        Optional<ObservableValue<?>> getObservableValue() { Optional.empty() }
        Optional<Class<? extends PropertyEditor<?>>> getPropertyEditorClass() { Optional.of(TestButton) }
    }

    static class TestButton extends AbstractPropertyEditor<Object, Button> {
        TestButton(PropertySheet.Item item) {
            super(item, new Button("Test"))
            editor.onAction = {
                Say.LOG.info("Test the command")
                new CheckCommand().run()
            }
        }

        @Override
        protected ObservableValue<Object> getObservableValue() { new SimpleObjectProperty<Object>() }

        @Override
        void setValue(Object value) {}
    }
}
