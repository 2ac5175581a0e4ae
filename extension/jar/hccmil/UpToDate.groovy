package hccmil

import com.google.gson.JsonParser
import qupath.lib.gui.QuPathGUI

/**
 * Whether the scores belong to the outlines as they are now.
 *
 * <p>The command answers this in the background: it compares fingerprints of the outlines, which
 * only the command can make.
 */
class UpToDate {
    /** Calls {@code tell} in the window's thread with the answer, which may be a problem. */
    static void check(ScoredImage image, Closure tell) {
        def project = QuPathGUI.instance.project?.path
        if (project == null || image.entryId == null) {
            tell('Not known: the image is not in a project.')
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
                throw new Problem(run.errorText ?: "the command ended with exit code $code")
            }
        } catch (Problem problem) {
            Say.LOG.warn(problem.message)
            return "Not known: $problem.message".toString()
        }
        words(said.join('\n'))
    }

    /** Puts the command's JSON for one image into words. */
    static String words(String json) {
        def image = JsonParser.parseString(json).asJsonObject.getAsJsonArray('images').get(0).asJsonObject
        if (!image.get('scored').asBoolean) {
            return 'NO: the saved image has no scores. Save or reload it.'
        }
        if (!image.get('stale').asBoolean) {
            return 'Yes: the saved outlines are the ones that were scored.'
        }
        def changes = ['edited', 'added'].collectMany { kind ->
            def names = image.getAsJsonArray(kind).collect { it.asString }
            names ? ["$kind: ${names.join(', ')}"] : []
        }
        int deleted = image.get('deleted').asInt
        if (deleted) {
            changes << "$deleted deleted"
        }
        def since = changes ? "outlines were changed since (${changes.join('; ')})" : 'some results are missing'
        "NO: $since. Score the image again."
    }
}
