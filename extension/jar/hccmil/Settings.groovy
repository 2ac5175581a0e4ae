package hccmil

import javafx.beans.property.StringProperty
import qupath.lib.gui.prefs.PathPrefs

/** What QuPath keeps for us, and the command that follows from it. */
class Settings {
    static final StringProperty COMMAND = PathPrefs.createPersistentPreference("hccmil.command", "")

    /** The command; a problem where there is none. */
    static File command() {
        CommandPlace.ofThisMachine().find(COMMAND.get(), jarFolder())
    }

    /** Folder of the jar that this comes from. */
    static File jarFolder() {
        def connection = Settings.classLoader.getResource("hccmil/menu.txt").openConnection()
        connection instanceof JarURLConnection ? new File(connection.jarFileURL.toURI()).parentFile : null
    }

    /** Version of the jar that this comes from. */
    static String version() {
        HccMilExtension.package.implementationVersion
    }
}
