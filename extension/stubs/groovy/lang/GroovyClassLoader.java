package groovy.lang;

import java.net.URL;
import java.net.URLClassLoader;

public class GroovyClassLoader extends URLClassLoader {
    public GroovyClassLoader(ClassLoader parent) { super(new URL[0], parent); }
}
