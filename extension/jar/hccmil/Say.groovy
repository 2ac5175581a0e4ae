package hccmil

import javafx.application.Platform
import org.slf4j.Logger
import org.slf4j.LoggerFactory
import qupath.fx.dialogs.Dialogs

/** What a person is told: in a dialog and in QuPath's log. */
class Say {
    static final Logger LOG = LoggerFactory.getLogger("HCC-MIL")
    static final String TITLE = "HCC-MIL"

    /** Runs an action; a problem becomes a dialog. */
    static void problemsOf(Closure action) {
        try {
            action.call()
        } catch (Problem problem) {
            Say.problem(problem.message)
        }
    }

    static void problem(String message) {
        LOG.warn(message)
        inWindow { Dialogs.showErrorMessage(TITLE, message) }
    }

    /** A warning that waits for nobody. */
    static void warning(String message) {
        LOG.warn(message)
        inWindow { Dialogs.showWarningNotification(TITLE, message) }
    }

    static void news(String message) {
        LOG.info(message)
        inWindow { Dialogs.showInfoNotification(TITLE, message) }
    }

    /** Runs something in the window's thread, now where that is this one. */
    static void inWindow(Closure action) {
        if (Platform.isFxApplicationThread()) action.call() else Platform.runLater(action as Runnable)
    }

    /** Runs something slow. */
    static void inBackground(Closure action) {
        Thread.startDaemon("HCC-MIL") {
            try {
                action.call()
            } catch (Problem problem) {
                Say.problem(problem.message)
            } catch (Exception error) {
                LOG.error("HCC-MIL", error)
                Say.problem("${error}\n\nView > Show log says more.")
            }
        }
    }
}
