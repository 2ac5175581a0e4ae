// Runs the Groovy that comes in lines of JSON, with the classes of the extension, without a window.
import com.google.gson.Gson
import com.google.gson.GsonBuilder

def gson = new GsonBuilder().serializeSpecialFloatingPointValues().serializeNulls().create()
def loader = new GroovyClassLoader(this.class.classLoader)
def out = System.out
System.out = System.err

System.in.eachLine('UTF-8') { line ->
    def asked = new Gson().fromJson(line, Map)
    def answer
    try {
        def value = new GroovyShell(loader, new Binding(asked.values)).evaluate(asked.code)
        answer = [value: value]
    } catch (Throwable error) {
        def text = new StringWriter()
        error.printStackTrace(new PrintWriter(text))
        answer = [error: text.toString(), type: error.class.simpleName, message: error.message]
    }
    out.write((gson.toJson(answer) + '\n').getBytes('UTF-8'))
    out.flush()
}
