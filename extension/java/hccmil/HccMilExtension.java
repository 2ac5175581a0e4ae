package hccmil;

import groovy.lang.GroovyClassLoader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import javafx.scene.control.Menu;
import javafx.scene.control.SeparatorMenuItem;
import qupath.lib.gui.QuPathGUI;
import qupath.lib.gui.extensions.QuPathExtension;
import qupath.lib.gui.localization.QuPathResources;

/**
 * Adds the entries of menu.txt to QuPath's menu; each entry is a Groovy class of this jar.
 *
 * <p>The Groovy is compiled by the QuPath that runs it, so that one jar works in several versions,
 * and by one class loader, so that its classes can share their state.
 *
 * <p>There are no lambdas here, because each version of the Java compiler numbers them differently,
 * and the class files must not depend on the compiler.
 */
public final class HccMilExtension implements QuPathExtension {
    /** Key of the main window's properties under which scripts find the class loader. */
    public static final String LOADER = "hccmil.loader";

    private final GroovyClassLoader groovy =
            new GroovyClassLoader(HccMilExtension.class.getClassLoader());

    @Override
    public String getName() {
        return "HCC-MIL";
    }

    @Override
    public String getDescription() {
        return "Scores tumour outlines for the risk of recurrence of hepatocellular carcinoma"
                + " (qupath-hccmil). For research use only.";
    }

    @Override
    public void installExtension(QuPathGUI qupath) {
        // A translated QuPath has a different name for its menu.
        String path = QuPathResources.getString("Menu.Extensions").concat(">HCC-MIL");
        Menu menu = qupath.getMenu(path, true);
        // QuPath 0.7 loads a dropped jar in addition to one that it has loaded before.
        menu.getItems().clear();
        qupath.getStage().getProperties().put(LOADER, groovy);
        for (String line : menu().split("\\R")) {
            String[] parts = line.split("\\|");
            if (line.equals("---")) {
                menu.getItems().add(new SeparatorMenuItem());
            } else if (parts.length == 2 && !line.startsWith("#")) {
                String title = parts[0].strip();
                qupath.installCommand(
                        path.concat(">").concat(title),
                        new Entry(groovy, title, parts[1].strip()));
            }
        }
        new Entry(groovy, "Start", "hccmil.Start").run();
    }

    private static String menu() {
        try (InputStream in = HccMilExtension.class.getResourceAsStream("menu.txt")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException error) {
            throw new IllegalStateException("menu.txt of the HCC-MIL extension", error);
        }
    }
}
