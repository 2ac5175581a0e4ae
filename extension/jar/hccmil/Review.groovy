package hccmil

import groovy.transform.CompileStatic

/** The review of one tile by one reviewer. */
@CompileStatic
class Review {
    static final List<String> VERDICTS = ['agree', 'disagree', 'artefact', 'cannot say'].asImmutable()

    /** ID of the project's entry. */
    String imageId
    String image
    Bounds tile
    /** SHA-256 of the weights of the model that had scored the tile. */
    String model
    /** One of VERDICTS, or null. */
    String verdict
    /** Whether each judged feature is present; features that were not judged are not keys. */
    Map<String, Boolean> features = [:]
    boolean blinded
    /** Time of the review, ISO 8601 in UTC. */
    String time

    boolean isEmpty() {
        verdict == null && features.isEmpty()
    }
}
