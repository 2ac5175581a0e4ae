package hccmil

import com.google.gson.JsonParser
import qupath.lib.gui.QuPathGUI

/**
 * Whether scores are those of the outlines as they are now. The command judges that, in the
 * background: it compares fingerprints of outlines that it alone makes.
 */
class UpToDate {
    /** Tells somebody in the window's thread; a problem is told too. */
    static void check(ScoredImage image, Closure tell) {
        def project = QuPathGUI.instance.project?.path
        if (project == null || image.entryId == null) {
            tell('Not known: the image is of no project.')
            return
        }
        Ui.background({ ask(project.toString(), image.entryId) }, tell)
    }

    private static String ask(String project, String id) {
        List<String> said = []
        try {
            def run = new CommandRun([Settings.command().path, 'project', 'info', project,
                '--image', "id:$id".toString(), '--engine', 'native', '--json'])
            int code = run.run { said << it }
            if (code != 0) {
                throw new Problem(run.errorText ?: "the command ended with code $code")
            }
        } catch (Problem problem) {
            Say.LOG.warn(problem.message)
            return "Not known: $problem.message".toString()
        }
        words(said.join('\n'))
    }

    /** What the command's JSON says of one image, in words. */
    static String words(String json) {
        def image = JsonParser.parseString(json).asJsonObject.getAsJsonArray('images').get(0).asJsonObject
        if (!image.get('scored').asBoolean) {
            return 'No: the saved image has no scores. Save it, or reload it.'
        }
        if (!image.get('stale').asBoolean) {
            return 'Yes: the saved outlines are those that were scored.'
        }
        def changes = ['edited', 'added'].collectMany { kind ->
            def names = image.getAsJsonArray(kind).collect { it.asString }
            names ? ["$kind: ${names.join(', ')}"] : []
        }
        int deleted = image.get('deleted').asInt
        if (deleted) {
            changes << "$deleted deleted"
        }
        def since = changes ? "outlines since ${changes.join('; ')}" : 'not all results are there'
        "NO: $since. Score the image again."
    }
}
