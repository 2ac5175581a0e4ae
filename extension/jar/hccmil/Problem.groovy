package hccmil

/** The reason why an action cannot be done, and what to do about it. */
class Problem extends RuntimeException {
    Problem(String message) {
        super(message)
    }
}
