package qupath.lib.gui;

import javafx.scene.control.Menu;
import javafx.scene.control.MenuItem;
import javafx.stage.Stage;

public class QuPathGUI {
    public MenuItem installCommand(String path, Runnable command) { return null; }
    public Menu getMenu(String name, boolean create) { return null; }
    public Stage getStage() { return null; }
}
