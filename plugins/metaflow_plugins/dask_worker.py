"""What runs on a Dask worker: one process per attempt, whose output is sent to the driver while it runs.

The functions here are sent by name, so a worker needs this package installed, of the same version as the driver.
"""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from metaflow_core.engine.interface import JOB_VARIABLE

CHUNK = 16 * 1024  # Dask's scheduler remembers the last thousand messages
LOOK_SECONDS = 0.2  # how often a worker looks whether its attempt is still wanted
GRACE_SECONDS = 3.0


def describe(r_package: bool) -> dict[str, Any]:
    """What a worker can run. ``r_package`` asks for flows written in R, which takes a moment to find out."""
    from metaflow_core import __version__

    r = shutil.which("Rscript") is not None and importlib.util.find_spec("rpy2") is not None
    if r and r_package:
        test = ["Rscript", "--vanilla", "-e", "quit(status = !requireNamespace('metaflow', quietly = TRUE))"]
        r = subprocess.run(test, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    return {"version": __version__, "r": r, "host": os.uname().nodename}


def run_job(topic: str, key: str, job: str, variables: Mapping[str, str]) -> int:
    """Run an attempt to its end, and return its exit code; negative for a signal.

    It is stopped when the driver has gone, or no longer wants it: then Dask has cancelled the task.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.get_current_task()
    # Settings of the worker's own machine stay; those of the flow's owner do not come from here.
    environment = {**os.environ, **variables, JOB_VARIABLE: job}
    process = subprocess.Popen(
        [sys.executable, "-m", "metaflow_core.cli.job"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    worker.log_event(topic, {"key": key, "pid": process.pid, "worker": worker.address})
    open_pipes = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    poll = select.poll()
    for fd in open_pipes:
        poll.register(fd, select.POLLIN)
    kill_at: float | None = None
    try:
        while open_pipes or process.poll() is None:
            ready = poll.poll(LOOK_SECONDS * 1000)
            for fd, _ in ready:
                data = os.read(fd, CHUNK)
                if data:
                    worker.log_event(topic, {"key": key, "stream": open_pipes[fd], "data": data})
                else:
                    poll.unregister(fd)
                    del open_pipes[fd]
            if not ready and process.poll() is not None:
                break  # something that the task has started still holds its output
            if kill_at is None:
                known = worker.state.tasks.get(task)
                if known is None or known.state == "cancelled":
                    _signal(process, signal.SIGTERM)
                    kill_at = time.monotonic() + GRACE_SECONDS
            elif time.monotonic() > kill_at:
                _signal(process, signal.SIGKILL)
    finally:
        _signal(process, signal.SIGKILL)  # what the task has started ends with it
        process.stdout.close()
        process.stderr.close()
    return process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
