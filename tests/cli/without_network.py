"""Run a command line; every attempt to reach another machine fails and is told."""

import sys

tried: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    if event in ("socket.__new__", "socket.getaddrinfo", "socket.connect", "socket.sendto"):
        tried.append(f"{event} {arguments[1:]}")
        raise OSError("there is no network")


sys.addaudithook(watch)

from qupath_hccmil.cli.main import run  # noqa: E402

code = run(sys.argv[1:])
print("\n".join(tried), file=sys.stderr)
sys.exit(99 if tried else code)
