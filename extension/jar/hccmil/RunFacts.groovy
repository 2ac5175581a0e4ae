package hccmil

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser
import groovy.transform.CompileStatic
import java.time.Instant
import java.time.OffsetDateTime
import java.time.ZoneId
import java.time.format.DateTimeFormatter

/** The record of a run, which the command wrote into the image's history. */
@CompileStatic
class RunFacts {
    static final String STEP = 'HCC-MIL risk scoring'
    static final String PARAMETER = 'record'
    private static final int FORMAT = 1
    private static final Map<String, String> SOURCES = [
        qupath: "QuPath's calibration", file: 'the slide file', override: 'the option --mpp',
    ]

    double risk
    String group
    int tiles
    double threshold
    String model
    boolean surrogate
    String weights
    String version
    String time
    double mpp
    String mppSource
    double minInside
    Integer maxTiles
    /** Tiles of the slide that were left out for this reason. */
    int background
    int blurred
    /** Tiles that were scored but not written, because the user gave them another class. */
    int left
    List<OutlineFacts> outlines = []

    /** One outline as it was scored. */
    @CompileStatic
    static class OutlineFacts {
        String id
        int tiles
        int background
        int blurred
        int left
    }

    /** Reads a record; null if it is damaged or from a newer version. */
    static RunFacts read(String text) {
        try {
            JsonObject content = JsonParser.parseString(text ?: '').asJsonObject
            if (content.get('format').asInt != FORMAT) {
                return null
            }
            JsonObject settings = content.getAsJsonObject('settings')
            List<OutlineFacts> outlines = content.getAsJsonArray('outlines')
                .collect { JsonElement each -> outline(each.asJsonObject) }
            JsonElement most = settings.get('max_tiles')
            return new RunFacts(
                risk: content.get('risk').asDouble,
                group: content.get('group').asString,
                tiles: content.get('tiles').asInt,
                threshold: content.get('threshold').asDouble,
                model: content.get('model').asString,
                surrogate: content.get('surrogate').asBoolean,
                weights: content.get('weights_sha256').asString,
                version: content.get('version').asString,
                time: content.get('time').asString,
                mpp: content.get('mpp').asDouble,
                mppSource: content.get('mpp_source').asString,
                minInside: settings.get('min_inside').asDouble,
                maxTiles: most == null || most.jsonNull ? null : (Integer) most.asInt,
                background: content.get('background').asInt,
                blurred: content.get('blurred').asInt,
                left: (int) (outlines.sum { OutlineFacts each -> each.left } ?: 0),
                outlines: outlines)
        } catch (JsonParseException | IllegalStateException | NullPointerException
            | ClassCastException | UnsupportedOperationException | NumberFormatException ignored) {
            return null
        }
    }

    private static OutlineFacts outline(JsonObject content) {
        new OutlineFacts(
            id: content.get('id').asString,
            tiles: content.get('tiles').asInt,
            background: content.get('background').asInt,
            blurred: content.get('blurred').asInt,
            left: content.has('left') ? content.get('left').asInt : 0)
    }

    boolean isHigh() {
        group == 'high'
    }

    /** Such as "0.25 µm per px, from the slide file". */
    String pixelSize() {
        "${number(mpp, 4)} µm per px, from ${SOURCES[mppSource] ?: mppSource}"
    }

    /** Time of the run in a time zone. */
    String when(ZoneId zone) {
        try {
            Instant instant = OffsetDateTime.parse(time).toInstant()
            return instant.atZone(zone).format(DateTimeFormatter.ofPattern('yyyy-MM-dd HH:mm'))
        } catch (java.time.format.DateTimeParseException ignored) {
            return time
        }
    }

    /** What was left out and why, one line per reason; empty if nothing was. */
    List<String> leftOut() {
        List<String> lines = []
        if (background) {
            lines << "${counted(background, 'tile')} with almost no tissue (background)".toString()
        }
        if (blurred) {
            lines << "${counted(blurred, 'tile')} out of focus".toString()
        }
        if (left) {
            lines << ("${counted(left, 'tile')} scored, but not written, "
                + 'because you gave them another class').toString()
        }
        if (maxTiles != null) {
            lines << ("of the rest, at most ${counted((int) maxTiles, 'tile')} "
                + 'were chosen at random (--max-tiles)').toString()
        }
        int without = outlines.count { OutlineFacts each -> each.tiles + each.left == 0 } as int
        if (without) {
            lines << "${counted(without, 'outline')} without a tile".toString()
        }
        lines
    }

    static String counted(int count, String thing) {
        "${String.format(Locale.ROOT, '%,d', count)} $thing${count == 1 ? '' : 's'}"
    }

    /** A number with at most the given decimals, and a decimal point in every language. */
    static String number(double value, int decimals) {
        new BigDecimal(value).setScale(decimals, java.math.RoundingMode.HALF_EVEN)
            .stripTrailingZeros().toPlainString()
    }
}
