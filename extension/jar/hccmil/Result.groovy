package hccmil

/** Says what came out for the open image. */
class Result implements Runnable {
    @Override
    void run() {
        Ui.guarded { ResultWindow.show() }
    }
}
