package hccmil

import com.google.gson.Gson
import com.google.gson.GsonBuilder
import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonNull
import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser
import com.google.gson.JsonPrimitive
import groovy.transform.CompileStatic
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.charset.CharacterCodingException
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.Path
import java.nio.file.StandardCopyOption
import java.nio.file.StandardOpenOption

/**
 * The reviews of one reviewer: {@code <project folder>/hccmil-reviews/<reviewer>.json}.
 *
 * <p>The file is read again before every change, so that changes by another window are kept, and it
 * is always written completely: a new file is written next to it and renamed. Keys that this version
 * does not know are kept. A file that cannot be understood is refused and never overwritten.
 */
@CompileStatic
class ReviewFile {
    static final String FOLDER = 'hccmil-reviews'
    static final String FORMAT = 'hccmil-reviews 1'

    private static final Gson GSON =
        new GsonBuilder().setPrettyPrinting().serializeNulls().disableHtmlEscaping().create()

    final Path path
    final String reviewer
    final List<String> features

    /**
     * @param folder folder of the reviews, which need not exist yet
     * @param reviewer name of the reviewer, as typed
     * @param features names of the features, in order
     */
    ReviewFile(Path folder, String reviewer, List<String> features) {
        this.path = folder.resolve(fileName(reviewer))
        this.reviewer = reviewer.strip()
        this.features = features
    }

    /** File name for a reviewer; characters other than letters, digits, space, - and _ become _. */
    static String fileName(String reviewer) {
        String name = reviewer.strip().replaceAll(/[^\p{L}\p{N} _-]/, '_')
        if (name.empty) {
            throw new Problem('A review needs the name of the reviewer; type it first.')
        }
        name + '.json'
    }

    /**
     * All reviews of an image, by tile. If a tile has reviews for two models, the later one counts.
     *
     * @throws Problem if the file is damaged
     */
    Map<Bounds, Review> ofImage(String imageId) {
        Map<Bounds, Review> found = [:]
        for (JsonObject each : entries(content())) {
            Review review = read(each)
            if (review.imageId == imageId) {
                Review other = found[review.tile]
                if (other == null || other.time <= review.time) {
                    found[review.tile] = review
                }
            }
        }
        found
    }

    /**
     * Saves a review, which replaces one of the same image, tile and model.
     *
     * <p>A review without a verdict and features removes the saved one.
     *
     * @throws Problem if the file is damaged or cannot be written; then it is unchanged
     */
    void put(Review review) {
        JsonObject content = content()
        content.addProperty('format', FORMAT)
        content.addProperty('reviewer', reviewer)
        content.add('features', strings(features))
        JsonArray kept = new JsonArray()
        JsonObject place = null
        for (JsonObject each : entries(content)) {
            if (isSame(each, review)) {
                place = place ?: each
            } else {
                kept.add(each)
            }
        }
        if (!review.empty) {
            // keys of an entry that are not ours are kept
            JsonObject entry = place ?: new JsonObject()
            fill(entry, review)
            kept.add(entry)
        }
        content.add('reviews', kept)
        write(GSON.toJson(content) + '\n')
    }

    private JsonObject content() {
        String text
        try {
            text = Files.readString(path)
        } catch (NoSuchFileException ignored) {
            return new JsonObject()
        } catch (CharacterCodingException ignored) {
            throw damaged('is not UTF-8')
        } catch (IOException error) {
            throw new Problem("$path: cannot be read ($error.message); check its permissions")
        }
        JsonElement parsed
        try {
            parsed = JsonParser.parseString(text)
        } catch (JsonParseException ignored) {
            throw damaged('is not valid JSON')
        }
        if (!parsed.jsonObject) {
            throw damaged('is not a file of reviews')
        }
        JsonObject content = parsed.asJsonObject
        String format = textOf(content.get('format'))
        if (format != FORMAT) {
            throw new Problem("$path: has the format \"$format\" instead of \"$FORMAT\"; "
                + 'update HCC-MIL, or move the file away')
        }
        String other = textOf(content.get('reviewer'))
        if (other != reviewer) {
            throw new Problem("$path: contains the reviews of \"$other\"; type the "
                + 'name in that way, or choose one that differs by a letter or digit')
        }
        entries(content).each { JsonObject each -> read(each) }
        content
    }

    private List<JsonObject> entries(JsonObject content) {
        JsonElement reviews = content.get('reviews')
        if (reviews == null) {
            return []
        }
        if (!reviews.jsonArray || reviews.asJsonArray.any { JsonElement each -> !each.jsonObject }) {
            throw damaged('has no list of reviews')
        }
        reviews.asJsonArray.collect { JsonElement each -> each.asJsonObject }
    }

    private Review read(JsonObject entry) {
        try {
            JsonArray tile = entry.getAsJsonArray('tile')
            List<Double> numbers = tile.collect { JsonElement each -> each.asDouble }
            if (numbers.size() != 4) {
                throw new IllegalStateException()
            }
            Map<String, Boolean> judged = [:]
            JsonElement features = entry.get('features')
            if (features != null && !features.jsonNull) {
                for (Map.Entry<String, JsonElement> each : features.asJsonObject.entrySet()) {
                    judged[each.key] = each.value.asBoolean
                }
            }
            return new Review(
                imageId: entry.get('image_id').asString,
                image: textOf(entry.get('image')),
                tile: new Bounds(numbers[0], numbers[1], numbers[2], numbers[3]),
                model: textOf(entry.get('model')),
                verdict: textOf(entry.get('verdict')) ?: null,
                features: judged,
                blinded: entry.get('blinded')?.asBoolean ?: false,
                time: textOf(entry.get('time')))
        } catch (RuntimeException ignored) {
            throw damaged("has a review that cannot be understood ($entry)")
        }
    }

    private static boolean isSame(JsonObject entry, Review review) {
        JsonArray tile = entry.getAsJsonArray('tile')
        Bounds bounds = new Bounds(
            tile.get(0).asDouble, tile.get(1).asDouble, tile.get(2).asDouble, tile.get(3).asDouble)
        entry.get('image_id').asString == review.imageId && bounds == review.tile \
            && textOf(entry.get('model')) == (review.model ?: '')
    }

    private static void fill(JsonObject entry, Review review) {
        entry.addProperty('image_id', review.imageId)
        entry.addProperty('image', review.image)
        JsonArray tile = new JsonArray()
        review.tile.numbers().each { Number each -> tile.add(new JsonPrimitive(each)) }
        entry.add('tile', tile)
        entry.addProperty('model', review.model ?: '')
        entry.add('verdict', review.verdict == null
            ? JsonNull.INSTANCE : (JsonElement) new JsonPrimitive(review.verdict))
        JsonObject features = new JsonObject()
        review.features.each { String name, Boolean present -> features.addProperty(name, present) }
        entry.add('features', features)
        entry.addProperty('blinded', review.blinded)
        entry.addProperty('time', review.time)
    }

    private void write(String text) {
        Path temporary = path.resolveSibling(".${path.fileName}.${UUID.randomUUID()}.new")
        try {
            Files.createDirectories(path.parent)
            try {
                FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)
                    .withCloseable { FileChannel channel ->
                        ByteBuffer bytes = ByteBuffer.wrap(text.getBytes('UTF-8'))
                        while (bytes.hasRemaining()) {
                            channel.write(bytes)
                        }
                        channel.force(true)
                    }
                Files.move(temporary, path,
                    StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING)
            } finally {
                Files.deleteIfExists(temporary)
            }
        } catch (IOException error) {
            throw new Problem("$path: cannot be written (${error.message ?: error}). "
                + 'The last click is not saved; check the disk and its permissions.')
        }
    }

    private Problem damaged(String why) {
        new Problem("$path: $why; repair the file or move it away (nothing was written)")
    }

    private static JsonArray strings(List<String> texts) {
        JsonArray array = new JsonArray()
        texts.each { String each -> array.add(each) }
        array
    }

    private static String textOf(JsonElement element) {
        element == null || element.jsonNull || !element.jsonPrimitive ? '' : element.asString
    }
}
