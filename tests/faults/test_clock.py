"""Clocks that jump or differ between machines: whether a run counts as lost."""

from __future__ import annotations

import os

import pytest
from metaflow_core.metadata import liveness
from metaflow_core.metadata.run_queries import StoredRun

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND


def run(host: str, pid: int | None, beat_seconds_ago: float) -> StoredRun:
    beat = NOW - round(beat_seconds_ago * SECOND)
    return StoredRun(1, 1, "1", "anne", "running", beat, None, beat, host, pid, None, None)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "now", lambda: NOW)


def gone() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_driver_of_another_machine_is_known_by_its_heartbeat() -> None:
    assert liveness.status(run("elsewhere", 1, 5)) == "running"
    assert liveness.status(run("elsewhere", 1, 59)) == "running"
    assert liveness.status(run("elsewhere", 1, 61)) == "lost"


@pytest.mark.parametrize("ahead", [1, 30, 3600, 10**6])
def test_a_heartbeat_of_the_future_is_a_sign_of_life(ahead: float) -> None:
    """Its machine's clock goes ahead of ours, or ours was set back."""
    assert liveness.status(run("elsewhere", 1, -ahead)) == "running"


def test_on_this_machine_a_driver_that_is_gone_is_lost_whatever_the_clock_says() -> None:
    here, pid = os.uname().nodename, gone()
    for seconds in (-(10**6), 0, 10**6):
        assert liveness.status(run(here, pid, seconds)) == "lost"
    assert liveness.status(run(here, os.getpid(), 5)) == "running"


def test_a_long_heartbeat_gives_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_HEARTBEAT_SECONDS", "100")
    assert liveness.status(run("elsewhere", 1, 599)) == "running"
    assert liveness.status(run("elsewhere", 1, 601)) == "lost"


def test_what_is_over_stays_what_it_is() -> None:
    for status in ("completed", "failed", "interrupted"):
        assert liveness.status(run("elsewhere", None, 10**6)._replace(status=status)) == status
