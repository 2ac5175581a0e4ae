package hccmil

/** Opens the result of the open image. */
class Result implements Runnable {
    @Override
    void run() {
        Ui.guarded { ResultWindow.show() }
    }
}
