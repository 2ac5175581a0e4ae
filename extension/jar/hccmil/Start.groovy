package hccmil

import qupath.lib.gui.QuPathGUI

/** Runs once in the window's thread when the extension is compiled. */
class Start implements Runnable {
    /** Named here so that they are compiled before the user needs them. */
    private static final List<Class> ENTRIES = [
        ScoreThisImage, ScoreSelectedImages, ScoreWholeProject, CheckCommand,
        Result, TileClasses, RiskMap, TilesOfInterest, ReviewTiles,
        ResultWindow, TileMapPanel, TilesWindow, ReviewWindow, UpToDate, LeftOut,
    ]

    @Override
    void run() {
        def qupath = QuPathGUI.instance
        Preferences.install(qupath)
        Watch.start(qupath)
        Say.LOG.info("HCC-MIL {} is ready", Settings.version())
    }
}
