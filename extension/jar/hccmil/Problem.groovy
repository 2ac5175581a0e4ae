package hccmil

/** What keeps an action from being done: says what it is and what to do about it. */
class Problem extends RuntimeException {
    Problem(String message) {
        super(message)
    }
}
