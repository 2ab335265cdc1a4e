"""What an orchestrator passes on of the events that have started a run, when that is no event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plan_walker
import pytest
from local_agents import rows
from metaflow import Run
from toy_orchestrator import toy as toy

from tests.orchestrators.test_tokens import FLOW
from tests.python.test_deployment_nodes import OTHER, deploy

END = {"name": "end", "id": "1", "time": 5, "type": "run", "payload": {"pathspec": "OtherFlow/1"}}


@pytest.fixture
def walker(run_flow: Any, project: Path, toy: Path) -> plan_walker.Walker:
    return plan_walker.Walker(deploy(run_flow, FLOW, name="TokenFlow"), "toy-1", OTHER)


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        json.dumps(END),
        json.dumps([{"name": 1}]),
        json.dumps([{**END, "time": "yesterday"}]),
        json.dumps([{**END, "time": 10**40}]),
        json.dumps([{**END, "time": -1}]),
        json.dumps([{**END, "payload": None}]),
        json.dumps([{**END, "payload": {"pathspec": "OtherFlow"}}]),
        json.dumps([{**END, "type": "else"}]),
    ],
)
def test_what_is_no_event_starts_nothing(walker: plan_walker.Walker, wrong: str) -> None:
    walker.trigger = wrong
    assert walker.node("start") is None
    assert "The events that started this run can't be read" in walker.output and "Traceback" not in walker.output
    assert rows("SELECT COUNT(*) FROM runs") == [(0,)]


def test_the_latest_and_the_largest_time(walker: plan_walker.Walker) -> None:
    walker.trigger = json.dumps([END, {**END, "name": "far", "time": 253_402_300_799_999_999}])
    assert walker.node("start") == {}
    trigger = Run("TokenFlow/toy-1", _namespace_check=False).trigger
    assert trigger is not None and trigger.event.timestamp.year == 9999
