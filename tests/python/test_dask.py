"""Steps on a real Dask cluster, which shares nothing with the driver but a database and an object store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask_cluster import DaskCluster

from tests.conftest import RunFlow

FLOW = """
import os, sys, time
from metaflow import FlowSpec, Parameter, catch, current, dask, resources, retry, step, timeout
from helper import double

class ClusterFlow(FlowSpec):
    n = Parameter("n", default=4)
    gate = Parameter("gate", default="")

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    ABOVE
    @step
    def work(self):
        print("work", self.input, flush=True)
        BODY
        self.twice = double(self.input)
        self.where = os.environ["HOME"]
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(i.twice for i in inputs)
        self.homes = sorted({os.path.basename(i.where) for i in inputs})
        self.next(self.end)

    @step
    def end(self):
        print("total", self.total, self.homes)

ClusterFlow()
"""


def flow(project: Path, above: str = "@dask", body: str = "pass") -> str:
    (project / "helper.py").write_text("def double(x): return 2 * x")
    return FLOW.replace("ABOVE", above).replace("BODY", body)


def follow(process: subprocess.Popen[str], text: str) -> str:
    """The output up to the line that has ``text``."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} was not printed:\n{seen}")


@pytest.fixture
def team(project: Path, s3: str, team_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)


@pytest.fixture
def start(project: Path, team: None) -> Start:
    return Start(project)


class Start:
    """Starts a flow in the background."""

    def __init__(self, project: Path) -> None:
        self.project = project

    def __call__(self, source: str, *arguments: str) -> subprocess.Popen[str]:
        (self.project / "flow.py").write_text(source)
        return subprocess.Popen(
            [sys.executable, "flow.py", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def test_a_foreach_on_two_workers(run_flow: RunFlow, project: Path, team: None, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(1)
    dask_cluster.start_worker(1)
    result = run_flow(flow(project), "run", "--n", "6")
    assert re.search(r"\[1/work/\d+ \(pid \d+\)\] work 5", result.stdout)
    assert "total 30 ['worker0', 'worker1']" in result.stdout
    assert "work 3" in run_flow(project / "flow.py", "logs", "1/work").stdout


def test_all_steps_on_the_cluster(run_flow: RunFlow, project: Path, team: None, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(2)
    result = run_flow(flow(project, ""), "run", "--n", "1", "--with", "dask")
    assert "total 0 ['worker0']" in result.stdout


def test_retry_catch_and_timeout(run_flow: RunFlow, project: Path, team: None, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(4)
    body = """
        if self.input == 0 and current.retry_count == 0: raise ValueError("once")
        if self.input == 1: os.kill(os.getpid(), 9)
        if self.input == 2 and current.retry_count == 0: time.sleep(1000)"""
    above = "@retry(times=1)\n    @timeout(seconds=15)\n    @catch(var='failure')\n    @dask"
    source = (
        flow(project, above, body.strip())
        .replace("sum(i.twice for i in inputs)", "[i.failure and i.failure.type for i in inputs]")
        .replace("i.where) for i in inputs", "i.where) for i in inputs if not i.failure")
    )
    result = run_flow(source, "run", "--n", "3")
    assert "ValueError: once" in result.stdout
    assert "was killed by signal 9" in result.stdout
    assert "TimeoutException" in result.stdout
    assert "total [None, 'FailureHandledByCatch', None] ['worker0']" in result.stdout


def test_a_worker_that_is_killed(start: Start, project: Path, dask_cluster: DaskCluster) -> None:
    first = dask_cluster.start_worker(1)
    process = start(
        flow(project, "@retry(times=1)\n    @dask", "time.sleep(0 if current.retry_count else 1000)"), "run", "--n", "1"
    )
    shown = follow(process, "work 0")
    dask_cluster.start_worker(1)
    dask_cluster.kill(first)
    rest = process.communicate(timeout=200)[0]
    assert "was lost." in rest, shown + rest
    assert "total 0 ['worker1']" in rest
    assert process.returncode == 0


def test_a_scheduler_that_is_killed(start: Start, run_flow: RunFlow, project: Path, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(2)
    process = start(flow(project, body="time.sleep(1000 if self.input else 0)"), "run", "--n", "2")
    follow(process, "work 1")
    dask_cluster.kill(dask_cluster.scheduler)
    rest = process.communicate(timeout=300)[0]
    assert "The connection to the Dask scheduler was lost." in rest
    assert process.returncode == 1
    source = flow(project, above="")
    (project / "flow.py").write_text(source)
    assert "total 2" in run_flow(project / "flow.py", "resume").stdout


def test_interrupt_ends_the_tasks(start: Start, project: Path, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(1)
    process = start(flow(project, body="print('pid', os.getpid(), flush=True); time.sleep(1000)"), "run", "--n", "1")
    pid = re.findall(r"\] pid (\d+)", follow(process, "] pid "))[0]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 1
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_nobody_there(run_flow: RunFlow, project: Path, team: None, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_flow(flow(project), "run", check=False)
    assert result.returncode == 1
    assert "Set METAFLOW_DASK_SCHEDULER to the address of its scheduler, such as tcp://host:8786." in result.stderr
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "2s")
    monkeypatch.setenv("METAFLOW_DASK_SCHEDULER", "tcp://127.0.0.1:9")
    result = run_flow(project / "flow.py", "run", check=False)
    assert result.returncode == 1
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_resources_of_workers(run_flow: RunFlow, project: Path, team: None, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(2, None, "--resources", "GPU=1")
    dask_cluster.start_worker(2)
    result = run_flow(flow(project, "@resources(gpu=1)\n    @dask"), "run", "--n", "3")
    assert "total 6 ['worker0']" in result.stdout
    result = run_flow(flow(project, "@resources(gpu=4)\n    @dask"), "run", check=False)
    assert result.returncode == 1
    assert "No worker of the Dask cluster can run step work: " in result.stderr
    assert "has 1 of GPU, and @resources asks for 4" in result.stderr
