"""This machine, as far as numbers of processes mean something, and which of its processes live."""

from __future__ import annotations

import os
from contextlib import suppress

# In Linux's include/linux/proc_ns.h: PROC_PID_INIT_INO, the namespace of processes of the machine itself.
_OF_THE_MACHINE = "pid:[4026531836]"


def here() -> str:
    """The machine's name; in a container, with the number of its namespace of processes: ``forge/4026532178``.

    Containers may have the name of their machine, or of one another, and each counts its processes from 1.
    """
    name, space = os.uname().nodename, _OF_THE_MACHINE
    with suppress(OSError):  # where there is no /proc, as on macOS
        space = os.readlink("/proc/self/ns/pid")
    return name if space == _OF_THE_MACHINE else f"{name}/{space.strip('pid:[]')}"


def alive(pid: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is someone else's
    return True


def process_of(pid: int) -> str | None:
    """When the process with this number began, as text that no other process of this machine has; None: it is gone.

    A process that has ended, and whose end nobody has asked for, is gone.
    """
    if not os.path.isdir("/proc/self"):
        return _process_elsewhere(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # a name may have blanks and brackets in it
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = ""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    return None if fields[0] in ("Z", "X") else f"{boot}:{fields[19]}"


def _process_elsewhere(pid: int) -> str | None:
    """Where there is no /proc, as on macOS."""
    import subprocess

    found = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    status, _, started = found.stdout.strip().partition(" ")
    return None if not started or status.startswith("Z") else started.strip()
