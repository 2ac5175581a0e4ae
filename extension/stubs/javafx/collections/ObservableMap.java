package javafx.collections;

import java.util.Map;

public interface ObservableMap<K, V> extends Map<K, V> {}
