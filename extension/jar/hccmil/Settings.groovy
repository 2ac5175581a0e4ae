package hccmil

import javafx.beans.property.StringProperty
import qupath.lib.gui.prefs.PathPrefs

/** Our preference in QuPath, and the command that it leads to. */
class Settings {
    static final StringProperty COMMAND = PathPrefs.createPersistentPreference("hccmil.command", "")

    /** The command; throws a Problem if it is not found. */
    static File command() {
        CommandPlace.ofThisMachine().find(COMMAND.get(), jarFolder())
    }

    /** Folder of this jar; null if it is not a jar. */
    static File jarFolder() {
        def connection = Settings.classLoader.getResource("hccmil/menu.txt").openConnection()
        connection instanceof JarURLConnection ? new File(connection.jarFileURL.toURI()).parentFile : null
    }

    /** Version of this jar. */
    static String version() {
        HccMilExtension.package.implementationVersion
    }
}
