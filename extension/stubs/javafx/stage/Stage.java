package javafx.stage;

public class Stage extends Window {}
