package hccmil

import javafx.application.Platform
import org.slf4j.Logger
import org.slf4j.LoggerFactory
import qupath.fx.dialogs.Dialogs

/** Messages for the user, which are lines of QuPath's log too. */
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

    /** Shows a warning for a few seconds. */
    static void warning(String message) {
        LOG.warn(message)
        inWindow { Dialogs.showWarningNotification(TITLE, message) }
    }

    static void news(String message) {
        LOG.info(message)
        inWindow { Dialogs.showInfoNotification(TITLE, message) }
    }

    /** Runs an action in the window's thread, at once if that is the present one. */
    static void inWindow(Closure action) {
        if (Platform.isFxApplicationThread()) action.call() else Platform.runLater(action as Runnable)
    }

    /** Runs a slow action in the background; a problem or an error becomes a dialog. */
    static void inBackground(Closure action) {
        Thread.startDaemon("HCC-MIL") {
            try {
                action.call()
            } catch (Problem problem) {
                Say.problem(problem.message)
            } catch (Exception error) {
                LOG.error("HCC-MIL", error)
                Say.problem("${error}\n\nView > Show log has the details.")
            }
        }
    }
}
