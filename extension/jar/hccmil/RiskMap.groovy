package hccmil

/** Shows the risk map in the image. */
class RiskMap implements Runnable {
    @Override
    void run() {
        Ui.guarded { TileMapPanel.show(MapKind.RISK) }
    }
}
