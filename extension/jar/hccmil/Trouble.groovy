package hccmil

import groovy.transform.CompileStatic

/** What went wrong, in one line that a user can act on: the file, the value, what to do. */
@CompileStatic
class Trouble extends RuntimeException {
    Trouble(String line) {
        super(line)
    }
}
