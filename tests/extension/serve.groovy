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
        def loader = qupath.stage.getProperties().get('hccmil.loader') ?: scripts
        def shell = new GroovyShell(loader, new Binding([qupath: qupath]))
        def script
        // as a menu entry does, which may be compiled meanwhile: each would wait for the other
        synchronized (loader) {
            script = shell.parse(code)
        }
        def value = script.run()
        def failure = System.clearProperty('hccmil.tests.failure')
        return gson.toJson(failure ? [error: failure] : [value: value])
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
