"""Identifies a process, so that another process can see whether it is still running."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

# If the start is a time of day, the clock may have been changed between two checks.
_TOLERANCE = 2.0


def this_process() -> dict[str, Any]:
    """Facts by which :func:`is_gone` recognises this process, for JSON.

    Process numbers are reused, so the facts include the start of the process, the start of the
    machine, and the container if there is one, because containers have their own process numbers.
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
    """Whether a process has certainly ended; False if this cannot be known from here.

    Nothing is known about another machine or container, or about an owner with too few facts.
    """
    here = this_process()
    # a file of an older version does not name the machine
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
    """Start of a process, in seconds since the machine started if the system gives it (Linux).

    A time of day would change with the clock, and a living process would be taken for dead.

    Raises
    ------
    psutil.NoSuchProcess
        There is no such process, or it has ended and waits to be collected.
    """
    process = psutil.Process(pid)
    if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        raise psutil.NoSuchProcess(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        # the name in brackets may contain anything; the start is the 22nd field
        return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return process.create_time()


def _machine() -> str:
    """Identity of a machine and container, which distinguishes those with the same name."""
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
