"""What a container runs for an attempt: ``python3 -m metaflow_plugins.container_job``.

The first process of a container gets no signal that it does not ask for, and its two streams have one log. So this one
starts the job as another process, passes signals on, and marks what comes from where.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

from metaflow_plugins.container_output import OUT_OF_MEMORY, Marker

COMMAND = ["python3", "-m", "metaflow_plugins.container_job"]
READ_SIZE = 64 * 1024
IDLE_SECONDS = 1.0  # after which the beginning of a line is passed on
# Where the kernel counts the processes that a container has lost for want of memory: control groups 2, and 1.
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def main() -> int:
    """Run the job to its end, and return the exit code of the container."""
    killed_before = _killed_for_memory()
    process = subprocess.Popen(
        [sys.executable, "-m", "metaflow_core.cli.job"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: _signal(process, number))
    marker = Marker()
    try:
        _pass_on(process, marker)
    finally:
        code = process.wait()
        _signal(process, signal.SIGKILL)  # what the task has started ends with it
    out_of_memory = code == -signal.SIGKILL and _killed_for_memory() > killed_before
    _write(marker.rest() + marker.exit(code, OUT_OF_MEMORY if out_of_memory else ""))
    return code if code >= 0 else 128 - code


def _pass_on(process: subprocess.Popen[bytes], marker: Marker) -> None:
    assert process.stdout is not None and process.stderr is not None
    pipes = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    poll = select.poll()
    for fd in pipes:
        poll.register(fd, select.POLLIN)
    while pipes:
        ready = poll.poll(IDLE_SECONDS * 1000)
        for fd, _ in ready:
            data = os.read(fd, READ_SIZE)
            if data:
                _write(marker.feed(pipes[fd], data))
            else:
                poll.unregister(fd)
                del pipes[fd]
        if not ready:
            _write(marker.rest())
            if process.poll() is not None:
                return  # something that the task has started still holds its output


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _killed_for_memory() -> int:
    for path in COUNTERS:
        with suppress(OSError, ValueError), open(path) as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
