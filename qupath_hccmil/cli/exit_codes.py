"""Exit codes of the command line (DESIGN §4)."""

DONE = 0
BAD_INPUT = 1
BAD_USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130
