package javafx.stage;

import javafx.collections.ObservableMap;

public class Window {
    public final ObservableMap<Object, Object> getProperties() { return null; }
}
