package hccmil

import groovy.transform.CompileStatic
import groovy.transform.Immutable

/** A feature that reviewers judge as present or absent, and the key that does it. */
@CompileStatic
@Immutable
class Feature {
    String name
    String key
}
