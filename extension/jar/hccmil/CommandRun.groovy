package hccmil

import java.nio.charset.StandardCharsets
import java.util.concurrent.TimeUnit

/** A run of the command: gives its lines, and can be cancelled. */
class CommandRun {
    /** Time to come to an end before it is ended, in seconds. */
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
     * @param onLine told each line of its standard output
     * @return its exit code
     */
    int run(Closure onLine) {
        def builder = new ProcessBuilder(command)
        // Python would write in the system's old code page into a pipe
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

    /** What it said on standard error. */
    String getErrorText() {
        errors.toString().trim()
    }

    boolean isCancelled() {
        cancelled
    }

    /** Asks the command to end; it leaves a whole project. */
    void cancel() {
        cancelled = true
        def running = process
        if (running == null) return
        try {
            running.outputStream.write("cancel\n".bytes)
            running.outputStream.flush()
        } catch (IOException ignored) {
            // it has ended
            return
        }
        Thread.startDaemon {
            if (!running.waitFor(PATIENCE, TimeUnit.SECONDS)) running.destroy()
        }
    }
}
