package javafx.collections;

import java.util.List;

public interface ObservableList<E> extends List<E> {}
