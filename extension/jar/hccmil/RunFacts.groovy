package hccmil

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser
import groovy.transform.CompileStatic
import java.time.Instant
import java.time.OffsetDateTime
import java.time.ZoneId
import java.time.format.DateTimeFormatter

/** What the record of a run says, as the command wrote it into the image's history. */
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
    /** Of the slide. */
    int background
    int blurred
    /** Tiles that were scored and not written, since the user has made them theirs. */
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

    /** Reads a record; null where it is damaged or of a newer version. */
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

    /** When it was scored, in a time zone. */
    String when(ZoneId zone) {
        try {
            Instant instant = OffsetDateTime.parse(time).toInstant()
            return instant.atZone(zone).format(DateTimeFormatter.ofPattern('yyyy-MM-dd HH:mm'))
        } catch (java.time.format.DateTimeParseException ignored) {
            return time
        }
    }

    /** What was left out and why, a line each; empty where nothing was. */
    List<String> leftOut() {
        List<String> lines = []
        if (background) {
            lines << "${counted(background, 'tile')} of background, with hardly any tissue".toString()
        }
        if (blurred) {
            lines << "${counted(blurred, 'tile')} out of focus".toString()
        }
        if (left) {
            lines << ("${counted(left, 'tile')} scored, but not written, "
                + 'since you had made them yours').toString()
        }
        if (maxTiles != null) {
            lines << ("of the rest, at most ${counted((int) maxTiles, 'tile')} "
                + 'were drawn at random (--max-tiles)').toString()
        }
        int without = outlines.count { OutlineFacts each -> each.tiles + each.left == 0 } as int
        if (without) {
            lines << "${counted(without, 'outline')} without any tile".toString()
        }
        lines
    }

    static String counted(int count, String thing) {
        "${String.format(Locale.ROOT, '%,d', count)} $thing${count == 1 ? '' : 's'}"
    }

    /** A number with at most so many decimals, with a point in every language. */
    static String number(double value, int decimals) {
        new BigDecimal(value).setScale(decimals, java.math.RoundingMode.HALF_EVEN)
            .stripTrailingZeros().toPlainString()
    }
}
