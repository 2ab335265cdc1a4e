"""Agents of the local orchestrator where something is wrong with one deployment, one run, or the names of machines."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_agents import FLOW, Agents, agent, command, queue, ran, rows, statuses, wait_for
from metaflow import Run, namespace

SCHEDULED = FLOW.replace("import FlowSpec", "import FlowSpec, schedule").replace(
    "    class LocalFlow", '    @schedule(cron="0 0 1 1 *", timezone="Europe/Berlin")\n    class OtherFlow'
)
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]  # with the name of this machine


@pytest.fixture
def agents(project: Path) -> Any:
    found = Agents()
    yield found
    found.close()


@pytest.mark.both_databases
def test_a_time_zone_that_this_machine_does_not_know(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(SCHEDULED.replace("LocalFlow()", "OtherFlow()"), "local", "create")
    rows("UPDATE deployments SET plan = replace(plan, 'Europe/Berlin', 'Mars/Olympus') RETURNING pk")
    run_flow(FLOW, "local", "create")
    process = agents.start()
    for number in (1, 2):
        queue()
        wait_for(lambda number=number: statuses().get(f"local-{number}") == "succeeded")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert said.count("OtherFlow can't be started by itself: ") == 1 and "Mars/Olympus" in said, said


def test_a_run_that_can_not_be_looked_after(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    process = agents.start()
    wait_for(lambda: ran(project))
    logs = project / ".metaflow" / "agent"
    logs.rename(project / "away")
    logs.touch()  # as when the disk is full
    [(pid,)] = rows("SELECT pid FROM local_runs")
    os.kill(pid, signal.SIGKILL)
    queue()
    wait_for(lambda: statuses()["local-2"] == "failed")
    assert statuses()["local-1"] == "running"
    logs.unlink()
    wait_for(lambda: statuses()["local-1"] == "failed")
    queue()
    wait_for(lambda: statuses()["local-3"] == "succeeded")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert said.count("LocalFlow/local-1 can't be looked after: ") == 1, said
    assert "local-2 has ended: failed: It can't be started: " in said


def test_another_container_with_the_name_of_this_machine(run_flow: Any, project: Path, agents: Agents) -> None:
    if shutil.which("unshare") is None or subprocess.run([*CONTAINER, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of processes can be made here")
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    process = agents.start()
    wait_for(lambda: ran(project))
    process.kill()
    process.wait()
    other = subprocess.run([*CONTAINER, *command("--once")], capture_output=True, text=True, timeout=60)
    assert other.returncode == 0 and "Looking after" not in other.stdout, other
    look = "import metaflow; metaflow.namespace(None); print(metaflow.Run('LocalFlow/local-1').status)"
    seen = subprocess.run([*CONTAINER, sys.executable, "-c", look], capture_output=True, text=True, timeout=60)
    assert seen.stdout == "running\n", seen
    assert statuses() == {"local-1": "running"}
    (project / "go").touch()
    agent()
    assert statuses() == {"local-1": "succeeded"}
    namespace(None)
    assert Run("LocalFlow/local-1").successful
