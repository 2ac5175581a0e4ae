package hccmil

import groovy.transform.CompileStatic
import java.nio.charset.CharacterCodingException
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.Path
import java.util.regex.Matcher
import java.util.regex.Pattern

/**
 * The features of a review, from the file features.toml next to the reviews.
 *
 * <p>QuPath has no TOML library, and the file only lists names and keys. So this class reads only
 * that part of TOML ({@code [[feature]]}, {@code name = "…"}, {@code key = "…"}, comments) and
 * refuses every other line, so that nothing is misread silently.
 */
@CompileStatic
class Features {
    static final String FILE = 'features.toml'
    /** Keys of a review: four verdicts, U for the next tile, 0 for the remaining features. */
    static final String TAKEN_KEYS = 'ADXCU0'

    /** Names that no feature may have: columns of the tables that `qupath-hccmil tiles` makes. */
    static final Set<String> TAKEN_NAMES =
        ['group', 'tile', 'unit', 'reviewer', 'verdict', 'blinded'].toSet().asImmutable()

    /** The four features that the pathologists of the paper recorded. */
    static final List<Feature> DEFAULT = [
        new Feature('Stroma', '1'),
        new Feature('High cytological atypia', '2'),
        new Feature('Nuclear hyperchromasia', '3'),
        new Feature('Immune cell infiltration', '4'),
    ].asImmutable()

    private static final Pattern LINE =
        ~/\s*(name|key)\s*=\s*(?:"((?:[^"\\]|\\["\\])*)"|'([^']*)')\s*(?:#.*)?/

    /** The features of a folder of reviews; the default ones if it has no such file. */
    static List<Feature> of(Path folder) {
        Path file = folder.resolve(FILE)
        try {
            return read(Files.readString(file), file.toString())
        } catch (NoSuchFileException ignored) {
            return DEFAULT
        } catch (CharacterCodingException ignored) {
            throw new Problem("$file: is not UTF-8; save the file as UTF-8")
        } catch (IOException error) {
            throw new Problem("$file: cannot be read ($error.message); check its permissions")
        }
    }

    /**
     * Reads the text of a features.toml.
     *
     * @param where path of the file, for messages
     * @throws Problem if a line is not understood, or a name or key is missing or not unique
     */
    static List<Feature> read(String text, String where) {
        List<Map<String, String>> tables = []
        int number = 0
        for (String line : text.replace('\uFEFF', '').readLines()) {
            number++
            String bare = line.strip()
            if (bare.empty || bare.startsWith('#')) {
                continue
            }
            if (bare ==~ /\[\[\s*feature\s*\]\]\s*(#.*)?/) {
                tables << ([line: number.toString()] as Map<String, String>)
                continue
            }
            Matcher found = LINE.matcher(line)
            if (!found.matches() || tables.empty) {
                throw new Problem("$where, line $number: \"$bare\" is not understood; "
                    + 'write [[feature]] and, below it, name = "Stroma" and key = "1"')
            }
            Map<String, String> table = tables.last()
            if (table.containsKey(found.group(1))) {
                throw new Problem("$where, line $number: a second ${found.group(1)}; "
                    + 'start each feature with a line [[feature]]')
            }
            String value = found.group(2) != null
                ? found.group(2).replaceAll(/\\(["\\])/, '$1') : found.group(3)
            table[found.group(1)] = value.strip()
        }
        checked(tables, where)
    }

    private static List<Feature> checked(List<Map<String, String>> tables, String where) {
        if (tables.empty) {
            throw new Problem("$where: has no [[feature]]; add one, or remove the file")
        }
        Set<String> names = []
        Set<String> keys = []
        tables.collect { Map<String, String> table ->
            String place = "$where, feature in line ${table['line']}"
            String name = table['name']
            String key = table['key']?.toUpperCase(Locale.ROOT)
            if (!name) {
                throw new Problem("$place: has no name; add name = \"Stroma\"")
            }
            if (key == null || key.length() != 1 || !Character.isLetterOrDigit(key.charAt(0))) {
                throw new Problem("$place: its key must be one letter or digit, such as key = \"1\"")
            }
            if (TAKEN_KEYS.contains(key)) {
                throw new Problem("$place: key $key has another meaning in a review "
                    + "(${TAKEN_KEYS.split('').join(', ')}); choose another")
            }
            if (TAKEN_NAMES.contains(name.toLowerCase(Locale.ROOT))) {
                throw new Problem("$place: $name is a column of the tables; choose another name")
            }
            if (!names.add(name.toLowerCase(Locale.ROOT))) {
                throw new Problem("$place: another feature is called $name too; choose another name")
            }
            if (!keys.add(key)) {
                throw new Problem("$place: another feature has the key $key too; choose another")
            }
            new Feature(name, key)
        }
    }
}
