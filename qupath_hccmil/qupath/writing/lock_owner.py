"""Which process holds something: told so that another can see whether it is still there."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

# Where the start is a time of day, the clock may have been set between two looks at it.
_TOLERANCE = 2.0


def this_process() -> dict[str, Any]:
    """Facts by which :func:`is_gone` recognises this process, for JSON.

    Process numbers are used again, so the process's start is among them; so is the start of the
    machine, and the container, where there is one: its numbers are its own.
    """
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "boot": _first_line(Path("/proc/sys/kernel/random/boot_id")),
        "pid": pid,
        "started": _started(pid),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether a process has certainly ended; False where that cannot be told from here.

    Of another machine or container nothing can be told, nor of an owner that says too little.
    """
    here = this_process()
    # a file of an older version names no machine
    if any(owner.get(key, here[key]) != here[key] for key in ("host", "machine")):
        return False
    if "host" not in owner or not isinstance(owner.get("pid"), int):
        return False
    if owner.get("boot", here["boot"]) != here["boot"]:
        return True
    try:
        started = _started(owner["pid"])
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return True
    except psutil.Error:
        return False
    then = owner.get("started")
    return isinstance(then, int | float) and abs(started - then) > _TOLERANCE


def described(owner: Mapping[str, Any]) -> str:
    """``process 123 on host since 2026-11-23T10:00:00+00:00``."""
    since = f" since {owner['since']}" if owner.get("since") else ""
    return f"process {owner.get('pid')} on {owner.get('host')}{since}"


def _started(pid: int) -> float:
    """When a process started: seconds since the machine did where the system says so (Linux).

    The time of day would move with the clock, and a process that lives would be taken for dead.

    Raises
    ------
    psutil.NoSuchProcess
        There is none, or it has ended and waits to be collected.
    """
    process = psutil.Process(pid)
    if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        raise psutil.NoSuchProcess(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        # the name in brackets may hold anything; the start is the 22nd field
        return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return process.create_time()


def _machine() -> str:
    """What tells two machines of one name apart, and the containers on them."""
    name = _first_line(Path("/etc/machine-id")) or f"{uuid.getnode():x}"
    try:
        return f"{name} {os.readlink('/proc/self/ns/pid')}"
    except (OSError, AttributeError):
        return name


def _first_line(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
