package hccmil

/** Opens the thumbnails of the slide's tiles. */
class TilesOfInterest implements Runnable {
    @Override
    void run() {
        Ui.guarded { TilesWindow.show() }
    }
}
