package hccmil

import qupath.fx.dialogs.Dialogs

/** Says what this is. */
class About implements Runnable {
    @Override
    void run() {
        Dialogs.showMessageDialog("HCC-MIL", "For research use only.")
    }
}
