package hccmil

import qupath.lib.gui.QuPathGUI

/** Runs once in QuPath's interface thread when the extension has been compiled. */
class Start implements Runnable {
    /** Named here so that they are compiled before somebody waits for them. */
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
