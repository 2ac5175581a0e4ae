package hccmil

import groovy.transform.CompileStatic

/** What one reviewer says of one tile. */
@CompileStatic
class Review {
    static final List<String> VERDICTS = ['agree', 'disagree', 'artefact', 'cannot say'].asImmutable()

    /** The project entry's ID. */
    String imageId
    String image
    Bounds tile
    /** SHA-256 of the weights of the model whose risk was reviewed. */
    String model
    /** One of VERDICTS, or null. */
    String verdict
    /** Feature to whether it is present; one that wasn't judged is absent. */
    Map<String, Boolean> features = [:]
    boolean blinded
    /** ISO 8601, UTC. */
    String time

    boolean isEmpty() {
        verdict == null && features.isEmpty()
    }
}
