"""Whether the driver of a run that counts as running is still there."""

from __future__ import annotations

import os

from metaflow_core import settings
from metaflow_core.clock import now
from metaflow_core.metadata.run_queries import StoredRun

BEATS = 6  # a driver that missed this many heartbeats is gone
AT_LEAST = 60.0  # seconds; a machine that slept or swapped for a moment is not gone


def status(run: StoredRun) -> str:
    """``running``, ``completed``, ``failed``, ``interrupted``, or ``lost``: its driver was killed."""
    return "lost" if run.status == "running" and _driver_is_gone(run) else run.status


def _driver_is_gone(run: StoredRun) -> bool:
    if run.pid is None and run.heartbeat_at is None:
        return False  # an orchestrator drives it
    if run.pid is not None and run.host == os.uname().nodename and not alive(run.pid):
        return True
    seconds: float = max(AT_LEAST, BEATS * settings.get("HEARTBEAT_SECONDS"))
    return now() - (run.heartbeat_at or run.created_at) > seconds * 1e6


def alive(pid: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is someone else's
    return True
