"""Runs that were stopped where they run, by the service's own means: they count as running until somebody asks."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import plan_walker
import pytest
from metaflow import Run

from tests.conftest import RunFlow

FLOW = """
    import os, time
    from metaflow import FlowSpec, exit_hook, project, step

    def told():
        print("the hook was called", flush=True)

    @project(name="shop")
    @exit_hook(on_error=[told])
    class LongFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.work)

        @step
        def work(self):
            while os.environ.get("WAIT"):
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        LongFlow()
"""
NAME = "shop.user.tester.LongFlow"


def know(toy: Path, number: int, status: str) -> Path:
    """What the service knows of the run from now on."""
    file = toy / f"toy-{number}.run"
    times = {"started_at": 1.0, "finished_at": None if status == "running" else time.time()}
    file.write_text(json.dumps({"name": NAME, "status": status, **times}))
    return file


def run(number: int) -> Run:
    return Run(f"LongFlow/toy-{number}", _namespace_check=False)


@pytest.mark.both_databases
def test_what_the_service_has_ended_is_told_by_whoever_asks(run_flow: RunFlow, project: Path, toy: Path) -> None:
    run_flow(FLOW, "toy", "create")
    walkers = {number: plan_walker.Walker(plan_walker.plan_of(NAME), f"toy-{number}") for number in range(1, 7)}
    for number, walker in walkers.items():
        assert walker.node("start") == {}
        know(toy, number, "running")
    asked = ("toy", "list-runs")
    run_flow(Path("flow.py"), *asked)
    assert {run(number).status for number in walkers} == {"running"}

    node = walkers[1].process("work", env={"WAIT": "1"})
    while "work" not in [step.id for step in run(1)]:
        time.sleep(0.02)
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()
    know(toy, 1, "terminated")
    know(toy, 2, "succeeded")
    know(toy, 3, "timed-out")
    know(toy, 4, "failed").rename(toy / "toy-4.gone")
    know(toy, 5, "failed").rename(toy / "toy-5.gone")
    run_flow(Path("flow.py"), *asked, "--succeeded", "--terminated")
    assert [run(number).status for number in walkers] == ["failed", "failed", *["running"] * 4]
    task = run(1)["work"].task
    assert task.status == "failed" and "The run has ended on Toy: terminated." in str(task.exception)
    assert run(1).finished_at is not None and run(2)["start"].task.successful
    assert run_flow(Path("flow.py"), "toy", "terminate", "toy-4").stdout.split("\n")[:2] == [
        "LongFlow/toy-4 is failed.",
        "Toy does not know the run any more: it was deleted there.",
    ]
    run_flow(Path("flow.py"), *asked)
    assert [run(number).status for number in walkers] == [*["failed"] * 5, "running"]
    assert run_flow(Path("flow.py"), "toy", "status", "LongFlow/toy-5").stdout.startswith("failed\n")

    # The service's own handler of the end comes later, and somebody starts the run there again.
    assert walkers[1].finish("failed") == 0 and "the hook was called" in walkers[1].output
    assert walkers[2].node("work") == {} and run(2).status == "running"
    assert walkers[2].node("end") == {} and run(2).successful


def test_runs_of_other_deployments_are_left_alone(run_flow: RunFlow, project: Path, toy: Path) -> None:
    run_flow(FLOW, "toy", "create")
    run_flow(Path("flow.py"), "--branch", "other", "toy", "create")
    walker = plan_walker.Walker(plan_walker.plan_of(NAME), "toy-1")
    assert walker.node("start") == {}
    other = ("--branch", "other", "toy")
    for command in ("status", "terminate"):
        asked = run_flow(Path("flow.py"), *other, command, "toy-1", check=False)
        assert asked.returncode == 1 and "The toy has no run toy-1" in asked.stderr
    know(toy, 1, "failed")  # the toy lists the runs of all
    run_flow(Path("flow.py"), *other, "list-runs")
    assert run(1).status == "running"
