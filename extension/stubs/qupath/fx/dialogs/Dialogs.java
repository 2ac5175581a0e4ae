package qupath.fx.dialogs;

public class Dialogs {
    public static void showErrorMessage(String title, String message) {}
}
