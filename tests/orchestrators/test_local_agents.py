"""Agents of the local orchestrator: each run begins once, whatever is killed, and its end is told truthfully."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_agents import FLOW, Agents, agent, command, listed, queue, ran, rows, statuses, wait_for
from metaflow import Run, namespace
from metaflow_core import machine
from metaflow_core.deployment import agent_starts
from metaflow_core.deployment.agent_starts import Watched
from metaflow_core.metadata import events, local_agents, local_runs
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.deployments import begin_deployment, deployed, deployment

ROUNDS = 60


@pytest.fixture
def agents(project: Path) -> Any:
    found = Agents()
    yield found
    found.close()


def deploy(name: str, schedule: bool = False, triggers: list[list[str]] | None = None) -> int:
    """A deployment that nothing runs."""
    backend = open_backend()
    plan: dict[str, Any] = {"schedule": {"cron": "0 * * * *", "timezone": None} if schedule else None}
    plan["triggers"] = [[{"name": event} for event in some] for some in triggers or []]
    db = backend.db
    pk = begin_deployment(db, "local", name, "Flow", f"{name}-token", "anne", plan, None)
    deployed(db, deployment(db, pk), "", {"last_event": 0})
    backend.close()
    return pk


def at_once(work: Callable[[int], object], count: int = 4) -> None:
    """Do the same in several processes at the same time."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        work(number)

    processes = [context.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0


@pytest.mark.both_databases
def test_each_run_is_taken_up_once(project: Path) -> None:
    pk = deploy("Flow")
    backend = open_backend()
    for _ in range(ROUNDS):
        local_runs.queue(backend.db, pk, {})
    backend.close()

    def take(number: int) -> None:
        db = open_backend().db
        me = local_agents.add_agent(db)
        with open(f"taken-{number}", "w") as file:
            while (run := local_runs.claim(db, me)) is not None:
                file.write(f"{run.pk}\n")

    at_once(take)
    taken = [line for number in range(4) for line in Path(f"taken-{number}").read_text().split()]
    assert sorted(map(int, taken)) == list(range(1, ROUNDS + 1))


@pytest.mark.both_databases
def test_each_time_and_each_event_starts_one_run(project: Path) -> None:
    for number in range(10):
        deploy(f"timed-{number}", schedule=True)
    deploy("waiting", triggers=[["a"], ["b", "c"]])
    backend = open_backend()
    before = (time.time_ns() // 1000) - 20 * 60_000_000
    backend.db.execute("UPDATE deployments SET created_at = ?", (before - 3600_000_000,))
    backend.close()

    def look(number: int) -> None:
        db = open_backend().db
        watched = Watched(db, 7200.0)
        for turn in range(ROUNDS // 4):
            list(watched.due())
            for name in ("a", "b", "c"):
                if name != "c" or number == 0:
                    events.publish(db, name, f"{number}-{turn}", "event", {}, "anne")
        list(watched.due())

    at_once(look)
    found = dict(rows("SELECT name, COUNT(*) FROM local_runs GROUP BY name"))
    waiting = rows("SELECT events FROM local_runs WHERE name = 'waiting'")
    singles = [line for (line,) in waiting if '"a"' in line]
    assert len(set(singles)) == len(singles) == 4 * (ROUNDS // 4), "one run for each event, and each event once"
    both = [line for (line,) in waiting if '"a"' not in line]
    assert all('"b"' in line and '"c"' in line for line in both)
    assert len(set(both)) == len(both) <= ROUNDS // 4
    assert {name: count for name, count in found.items() if name != "waiting"} == {f"timed-{n}": 1 for n in range(10)}


@pytest.mark.both_databases
def test_a_time_that_another_agent_takes_meanwhile(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy("timed", schedule=True)
    one, other = (Watched(open_backend().db, 7200.0) for _ in range(2))
    assert list(one.due()) == []
    one.db.execute("UPDATE local_starts SET due_at = due_at - 3600000000")
    times, quicker = agent_starts.next_times, []

    def slow(*arguments: Any) -> Any:
        if not quicker:
            quicker.append(None)
            quicker.extend(other.due())
        return times(*arguments)

    monkeypatch.setattr(agent_starts, "next_times", slow)
    assert list(one.due()) == [] and len(quicker) == 2
    assert rows("SELECT COUNT(*) FROM local_runs") == [(1,)]


def test_two_agents_share_the_work(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    ids = [queue(project) for _ in range(8)]
    two = [agents.start("--once", "--max-runs", "2") for _ in range(2)]
    said = [process.communicate(timeout=200)[0] for process in two]
    assert ran(project) == ids
    assert set(statuses().values()) == {"succeeded"}
    assert sum(text.count(" begins, as process ") for text in said) == 8
    assert all(" begins, as process " in text for text in said)


def test_a_run_goes_on_when_its_agent_is_killed(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    first = agents.start()
    wait_for(lambda: ran(project))
    first.kill()
    first.wait()
    assert listed(run_flow, "flow.py") == {"local-1": "running"}, "that its agent is gone does not end it"
    second = agents.start("--once")
    wait_for(lambda: rows("SELECT agent_pk FROM local_runs") != [(1,)])
    (project / "go").touch()
    said = second.communicate(timeout=100)[0]
    assert "Looking after LocalFlow/local-1, whose agent is gone" in said
    assert "LocalFlow/local-1 has ended: succeeded" in said
    assert ran(project) == ["local-1"]


def test_a_stopped_agent_leaves_its_runs_to_the_next(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    first = agents.start()
    wait_for(lambda: ran(project))
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=100)[0]
    assert first.returncode == 0
    assert "Stopped. What runs goes on, and the next agent looks after it: LocalFlow/local-1" in said
    assert rows("SELECT * FROM local_agents") == []
    (project / "go").touch()
    wait_for(lambda: statuses() == {"local-1": "succeeded"})  # the run tells its end itself
    assert ran(project) == ["local-1"]


def test_the_death_of_a_run_is_told_and_it_is_resumed(run_flow: Any, project: Path, agents: Agents) -> None:
    hook = """
    from metaflow import exit_hook

    def told(run):
        import pathlib
        with open("PLACE/hooked.txt", "a") as file:
            file.write(run.pathspec + "\\n")

    @exit_hook(on_error=[told])
    class"""
    flow = FLOW.replace("    class", hook.replace("PLACE", str(project)))
    run_flow(flow, "local", "create")
    queue(project, hold=True)
    process = agents.start("--once")
    wait_for(lambda: ran(project))
    pid = rows("SELECT pid FROM local_runs")[0][0]
    os.kill(pid, signal.SIGKILL)
    said = process.communicate(timeout=100)[0]
    assert process.returncode == 1
    assert "LocalFlow/local-1 has ended: failed: Its process on " in said
    assert "`resume --origin-run-id local-1` goes on from there" in said
    assert (project / "hooked.txt").read_text() == "LocalFlow/local-1\n"
    namespace(None)
    assert Run("LocalFlow/local-1").status == "failed"
    (project / "go").touch()
    run_flow("flow.py", "resume", "--origin-run-id", "local-1")
    assert Run("LocalFlow/1").successful


def test_the_death_of_all_is_known_without_an_agent(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    process = agents.start()
    wait_for(lambda: ran(project))
    process.kill()
    process.wait()
    pid = rows("SELECT pid FROM local_runs")[0][0]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: machine.process_of(pid) is None)
    assert listed(run_flow, "flow.py") == {"local-1": "failed"}
    assert statuses() == {"local-1": "running"}, "nobody has written that down yet"
    agent(code=1)
    assert statuses() == {"local-1": "failed"}


def test_a_process_of_an_earlier_claim_does_not_begin(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    queue(project)
    backend = open_backend()
    db = backend.db
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    pk = db.execute(
        "INSERT INTO local_agents (host, pid, process, started_at, heartbeat_at) VALUES (?, ?, 'x', 0, 0) RETURNING pk",
        (os.uname().nodename, killed.pid),
    )[0][0]
    taken = local_runs.claim(db, pk)  # and the agent is killed before it has started a process
    assert taken is not None
    variables = dict(deployment(db, taken.deployment_pk).info["environment"])
    backend.close()
    said = agent()
    assert "LocalFlow/local-1 waits again: its agent was gone before it began" in said
    assert ran(project) == ["local-1"]
    late = subprocess.run(
        [sys.executable, "-m", "metaflow_core.cli.deployed", "deployed-run"],
        env={**os.environ, **variables, "METAFLOW_RUN_ID": "local-1", "METAFLOW_LOCAL_RUN": f"{taken.pk}:1"},
        capture_output=True,
        text=True,
    )
    assert (late.returncode, late.stdout) == (0, "Another agent has taken up this run; nothing is done here.\n")
    assert ran(project) == ["local-1"]
    assert statuses() == {"local-1": "succeeded"}


def test_a_run_that_was_taken_up_as_the_database_went_away(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    agents.start()
    wait_for(lambda: rows("SELECT 1 FROM local_agents"))
    backend = open_backend()
    with backend.db.transaction():  # it was claimed, and the answer did not arrive
        pk = local_runs.queue(backend.db, 1, {"place": str(project)}).pk
        backend.db.execute(
            "UPDATE local_runs SET status = 'running', agent_pk = 1, claims = 1, host = ?, started_at = 0 WHERE pk = ?",
            (os.uname().nodename, pk),
        )
    backend.close()
    wait_for(lambda: statuses() == {"local-1": "succeeded"})
    assert ran(project) == ["local-1"]


def test_agents_that_are_killed_at_random_moments(run_flow: Any, project: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    run_flow(FLOW, "local", "create")
    ids = [queue(project) for _ in range(5)]
    for _ in range(5):
        process = subprocess.Popen(command("--max-runs", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        time.sleep(chance.uniform(0.2, 2.5))
        process.kill()
        process.wait()
    agent("--max-runs", "2")
    assert ran(project) == ids, "each has begun, and none twice"
    assert set(statuses().values()) == {"succeeded"}


def test_at_most_so_many_runs_at_a_time(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    for _ in range(3):
        queue(project, hold=True)
    process = agents.start("--once", "--max-runs", "2")
    wait_for(lambda: len(ran(project)) == 2)
    assert sorted(statuses().values()) == ["queued", "running", "running"]
    (project / "go").touch()
    process.communicate(timeout=100)
    assert set(statuses().values()) == {"succeeded"}
