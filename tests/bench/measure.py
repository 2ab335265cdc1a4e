"""Wall time and peak memory of whole processes."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05


@dataclass(slots=True)
class Measured:
    """One process from its start to its end.

    ``seconds`` is wall time, ``cpu_seconds`` what its whole tree has computed, which other work on the machine disturbs
    less. ``largest_mb`` is the peak resident memory of the largest process in the tree, ``own_mb`` that of the process
    itself (0 when it was not watched).
    """

    seconds: float
    cpu_seconds: float
    largest_mb: float
    own_mb: float
    output: str


class ProcessFailed(Exception):
    """The command, and the last line that it printed: its message, not its frames, which may be another's code."""


def measure(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    code: int = 0,
    watch: bool = False,
) -> Measured:
    """Run ``command`` in ``folder``; ``ProcessFailed`` when it does not exit with ``code``.

    The output goes to a file, as in a batch job: a pipe that nobody empties in time would slow the process down.
    """
    log = folder / "output.log"
    with open(log, "wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        own = _watch(process.pid) if watch else 0.0
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    if process.returncode != code:
        last = (text.rstrip().splitlines() or [""])[-1]
        raise ProcessFailed(f"{Path(command[1]).name} ended with exit code {process.returncode}: {last[:200]}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, own, text)


def _watch(pid: int) -> float:
    """Peak memory of the process itself, in MB. Waits for its end, and leaves it to be reaped."""
    peak = 0.0
    pidfd = os.pidfd_open(pid)
    try:
        while not select.select([pidfd], [], [], POLL_SECONDS)[0]:
            peak = max(peak, _high_water(pid))
    finally:
        os.close(pidfd)
    return peak


def _high_water(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")), 0.0)
    except OSError:
        return 0.0
