// QuPath's startup script in tests: runs the Groovy that comes over a socket in the window's thread.
import com.google.gson.GsonBuilder
import java.util.concurrent.CompletableFuture
import javafx.application.Platform
import qupath.lib.gui.QuPathGUI

def server = new ServerSocket(0, 8, InetAddress.loopbackAddress)
def gson = new GsonBuilder().serializeSpecialFloatingPointValues().serializeNulls().create()
def scripts = this.class.classLoader

def answer = { String code ->
    try {
        def qupath = QuPathGUI.instance
        // with the extension's classes where it is installed
        def classes = qupath.stage.getProperties().get('hccmil.loader') ?: scripts
        // With a class loader of its own: a shell locks its loader's cache before it asks for
        // classes, and a menu entry that is compiled meanwhile takes the same locks in turn.
        def loader = new GroovyClassLoader(classes)
        def binding = new Binding([qupath: qupath])
        return gson.toJson([value: new GroovyShell(loader, binding).evaluate(code)])
    } catch (Throwable error) {
        def text = new StringWriter()
        error.printStackTrace(new PrintWriter(text))
        return gson.toJson([error: text.toString()])
    }
}

Thread.startDaemon('asked by tests') {
    while (true) {
        def socket = server.accept()
        Thread.startDaemon {
            socket.withCloseable {
                def code = new String(socket.inputStream.readAllBytes(), 'UTF-8')
                def done = new CompletableFuture()
                Platform.runLater { done.complete(answer(code)) }
                socket.outputStream.write(done.get().getBytes('UTF-8'))
            }
        }
    }
}

def ready = new File(System.getProperty('hccmil.tests.port'))
new File(ready.path + '.new').text = server.localPort
new File(ready.path + '.new').renameTo(ready)
