package javafx.scene.control;

public class SeparatorMenuItem extends MenuItem {}
