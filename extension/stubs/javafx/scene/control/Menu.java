package javafx.scene.control;

import javafx.collections.ObservableList;

public class Menu extends MenuItem {
    public final ObservableList<MenuItem> getItems() { return null; }
}
