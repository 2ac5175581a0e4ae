package hccmil

import java.nio.charset.StandardCharsets
import java.util.concurrent.TimeUnit

/** A run of the command, which passes on its lines and can be cancelled. */
class CommandRun {
    /** Seconds that a cancelled command has before it is ended by force. */
    static final int PATIENCE = 60

    final List<String> command
    private final StringBuffer errors = new StringBuffer()
    private volatile Process process
    private volatile boolean cancelled

    CommandRun(List<String> command) {
        this.command = command
    }

    /**
     * Runs the command to its end.
     *
     * @param onLine called with each line of its standard output
     * @return its exit code
     */
    int run(Closure onLine) {
        def builder = new ProcessBuilder(command)
        // Otherwise Python would write in the system's old code page into a pipe.
        builder.environment().put("PYTHONUTF8", "1")
        try {
            process = builder.start()
        } catch (IOException error) {
            throw new Problem("${command[0]} could not be started: ${error.message}")
        }
        def listening = Thread.startDaemon {
            process.errorStream.eachLine(StandardCharsets.UTF_8.name()) { errors.append(it).append("\n") }
        }
        if (cancelled) cancel()
        process.inputStream.eachLine(StandardCharsets.UTF_8.name()) { onLine.call(it) }
        def code = process.waitFor()
        listening.join(5000)
        code
    }

    /** What it wrote on standard error. */
    String getErrorText() {
        errors.toString().trim()
    }

    boolean isCancelled() {
        cancelled
    }

    /** Asks the command to end; the project stays complete. */
    void cancel() {
        cancelled = true
        def running = process
        if (running == null) return
        try {
            running.outputStream.write("cancel\n".bytes)
            running.outputStream.flush()
        } catch (IOException ignored) {
            // It has ended.
            return
        }
        Thread.startDaemon {
            if (!running.waitFor(PATIENCE, TimeUnit.SECONDS)) running.destroy()
        }
    }
}
