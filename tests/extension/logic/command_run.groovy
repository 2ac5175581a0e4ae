// A process: its lines, its errors, and how it is cancelled.
import hccmil.CommandRun
import hccmil.Problem

if (System.getProperty("os.name").startsWith("Windows")) return
def lines = []
def run = new CommandRun(["sh", "-c", "echo eins; echo 'fünf'; echo wrong >&2; exit 3"])
assert run.run { lines << it } == 3
assert lines == ["eins", "fünf"]
assert run.errorText == "wrong"
assert !run.cancelled

// told on its standard input, as score --progress json is
lines = []
run = new CommandRun(["sh", "-c", "echo started; read word; echo \$word; exit 130"])
assert run.run { lines << it; if (it == "started") run.cancel() } == 130
assert lines == ["started", "cancel"]
assert run.cancelled

// cancelled before it was started
run = new CommandRun(["sh", "-c", "read word; echo \$word"])
run.cancel()
lines = []
run.run { lines << it }
assert lines == ["cancel"]

// after its end
run.cancel()

try {
    new CommandRun(["/not/there/qupath-hccmil"]).run {}
    assert false
} catch (Problem problem) {
    assert problem.message.contains("/not/there/qupath-hccmil could not be started")
}
