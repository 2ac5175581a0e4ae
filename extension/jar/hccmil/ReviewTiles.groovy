package hccmil

/** Opens the review of the slide's tiles. */
class ReviewTiles implements Runnable {
    @Override
    void run() {
        Ui.guarded { ReviewWindow.show() }
    }
}
