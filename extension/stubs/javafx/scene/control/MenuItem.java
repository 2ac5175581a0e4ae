package javafx.scene.control;

public class MenuItem {}
