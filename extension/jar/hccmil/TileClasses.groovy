package hccmil

/** Shows the classes of the tiles in the image. */
class TileClasses implements Runnable {
    @Override
    void run() {
        Ui.guarded { TileMapPanel.show(MapKind.CLASSES) }
    }
}
