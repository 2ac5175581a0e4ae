package hccmil;

import groovy.lang.GroovyClassLoader;
import javafx.application.Platform;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import qupath.fx.dialogs.Dialogs;

/**
 * An entry of the menu: loads its Groovy class in the background, then runs it in the window's
 * thread. Loading a class for the first time compiles it, and the window must not wait for that.
 */
final class Entry implements Runnable {
    private static final Logger LOG = LoggerFactory.getLogger("HCC-MIL");

    private final GroovyClassLoader groovy;
    private final String title;
    private final String className;

    Entry(GroovyClassLoader groovy, String title, String className) {
        this.groovy = groovy;
        this.title = title;
        this.className = className;
    }

    @Override
    public void run() {
        LOG.info(title);
        Thread thread = new Thread(new Loading(this), "HCC-MIL");
        thread.setDaemon(true);
        thread.start();
    }

    private static final class Loading implements Runnable {
        private final Entry entry;

        Loading(Entry entry) {
            this.entry = entry;
        }

        @Override
        public void run() {
            Runnable loaded = null;
            Throwable failure = null;
            try {
                // One at a time: two compilations at once would make two classes with the same name.
                synchronized (entry.groovy) {
                    Class<?> found = entry.groovy.loadClass(entry.className);
                    loaded = (Runnable) found.getConstructor().newInstance();
                }
            } catch (Exception | LinkageError error) {
                failure = error;
            }
            Platform.runLater(new Opening(entry.title, loaded, failure));
        }
    }

    private static final class Opening implements Runnable {
        private final String title;
        private final Runnable loaded;
        private final Throwable failure;

        Opening(String title, Runnable loaded, Throwable failure) {
            this.title = title;
            this.loaded = loaded;
            this.failure = failure;
        }

        @Override
        public void run() {
            if (failure != null) {
                report(failure);
                return;
            }
            try {
                loaded.run();
            } catch (Exception | LinkageError | AssertionError error) {
                report(error);
            }
        }

        private void report(Throwable error) {
            LOG.error(title.concat(" failed"), error);
            Dialogs.showErrorMessage(
                    "HCC-MIL",
                    String.format("%s failed: %s%n%nView > Show log has the details.", title, error));
        }
    }
}
