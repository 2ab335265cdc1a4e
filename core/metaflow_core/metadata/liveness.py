"""Whether the driver of a run that counts as running is still there."""

from __future__ import annotations

from metaflow_core import settings
from metaflow_core.clock import now
from metaflow_core.machine import alive, here
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_queries import StoredRun
from metaflow_core.metadata.search_terms import Lost

BEATS = 6  # a driver that missed this many heartbeats is gone
AT_LEAST = 60.0  # seconds; a machine that slept or swapped for a moment is not gone


def status(run: StoredRun) -> str:
    """``running``, ``completed``, ``failed``, ``interrupted``, or ``lost``: its driver was killed."""
    return "lost" if run.status == "running" and _driver_is_gone(run) else run.status


def lost(db: Database, flow_pk: int | None) -> Lost:
    """The condition that a run of the flow (None: of any flow) is lost."""
    host, before = here(), now() - round(patience() * 1e6)
    # Processes can be looked up here alone. Those that have given a sign of life lately are few.
    flows = "IN (SELECT pk FROM flows)" if flow_pk is None else "= ?"
    rows = db.execute(
        f"SELECT DISTINCT pid FROM runs WHERE flow_pk {flows} AND status = 'running' AND host = ? AND pid IS NOT NULL"
        " AND COALESCE(heartbeat_at, created_at) >= ?",
        (*([] if flow_pk is None else [flow_pk]), host, before),
    )
    return Lost(before, host, tuple(row[0] for row in rows if not alive(row[0])))


def _driver_is_gone(run: StoredRun) -> bool:
    if run.pid is None and run.heartbeat_at is None:
        return False  # an orchestrator drives it
    if run.pid is not None and run.host == here() and not alive(run.pid):
        return True
    return now() - (run.heartbeat_at or run.created_at) > patience() * 1e6


def patience() -> float:
    """Seconds without a sign of life after which a driver is gone."""
    return float(max(AT_LEAST, BEATS * settings.get("HEARTBEAT_SECONDS")))
