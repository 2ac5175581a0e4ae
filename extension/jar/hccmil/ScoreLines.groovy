package hccmil

import com.google.gson.Gson
import com.google.gson.JsonSyntaxException

/** What `score --progress json` has printed so far. */
class ScoreLines {
    int images
    String image
    int done
    int of
    Double rate
    String summary
    final List<Map> finished = []

    private final Gson gson = new Gson()

    /**
     * Reads a line.
     *
     * @return its event; empty if it is not ours
     */
    Map take(String line) {
        Map told
        try {
            told = gson.fromJson(line, LinkedHashMap) ?: [:]
        } catch (JsonSyntaxException ignored) {
            return [:]
        }
        switch (told.event) {
            case "run": images = told.images as int; break
            case "image": image = told.image; done = 0; of = told.of as int; rate = null; break
            case "tiles":
                done = told.done as int
                of = told.of as int
                rate = told.tiles_per_second as Double
                break
            case "finished": finished << told; image = null; done = of = 0; break
            case "end": summary = told.summary; break
        }
        told
    }

    /** Share of the run that is done, 0 to 1; negative if it is not known yet. */
    double getFraction() {
        if (images == 0) return -1
        (finished.size() + (of ? done / of : 0)) / images
    }

    /** The present state, in one line. */
    String getNow() {
        if (summary != null) return "Done"
        if (image == null) return finished ? "Preparing the next image" : "Starting"
        def at = "Image ${finished.size() + 1} of $images: $image"
        if (!done) return "$at, fitting its stains"
        def decimals = rate < 10 ? 1 : 0
        "$at, tile $done of $of" + (rate ? String.format(Locale.ROOT, ", %.${decimals}f tiles/s", rate) : "")
    }

    /** The outcome of an image in one line, and a line for each note. */
    static String outcome(Map told) {
        def said = told.status == "failed" ? "not scored: ${told.reason.toString() - ~/^\Q${told.image}\E: /}"
            : told.status == "scored" ? String.format(
                Locale.ROOT, "risk %.4f (%s risk), %.0f tiles", told.risk, told.group, told.tiles)
            : told.status
        ["${told.image}: $said", *told.notes.collect { "    note: $it" }].join("\n")
    }
}
