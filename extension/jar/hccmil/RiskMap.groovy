package hccmil

/** Shows the map of risk in the image. */
class RiskMap implements Runnable {
    @Override
    void run() {
        Ui.guarded { TileMapPanel.show(MapKind.RISK) }
    }
}
