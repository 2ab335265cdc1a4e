"""Steps on other machines: a place that runs each attempt from nothing but what a job says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import RunFlow

# A place that starts each job as a process in an empty folder, and a decorator that names it.
PLUGIN = """
import json, os, subprocess, sys, tempfile, threading
from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.engine.interface import TaskExited, TaskStarted
from metaflow_core.hookspecs import hookimpl

class Elsewhere(StepDecorator):
    name = "elsewhere"
    compute = "elsewhere"
    defaults = {"mode": ""}

class Place:
    name = "elsewhere"

    def open(self, job, steps):
        self.job, self.steps, self.seen, self.lock = job, steps, [], threading.Lock()
        self.reader, self.writer = os.pipe()
        self.processes = {}
        print("steps", {name: needs.languages for name, needs in steps.items()}, file=sys.stderr)

    def fileno(self):
        return self.reader

    def tell(self, event):
        with self.lock:
            self.seen.append(event)
        os.write(self.writer, b"x")

    def start(self, request, stdout, stderr):
        job = self.job(request)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")}
        for name in ("METAFLOW_S3_ENDPOINT_URL", "METAFLOW_STORE_CACHE"):
            environment[name] = os.environ[name]
        environment["METAFLOW_JOB_FOLDER"] = os.environ["ELSEWHERE"]
        environment["METAFLOW_JOB"] = json.dumps(job)
        mode = self.steps[request.step].attributes["mode"]

        def run():
            command = [sys.executable, "-m", "metaflow_core.cli.job"]
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=err, cwd=os.environ["ELSEWHERE"])
            self.processes[request.key] = process
            self.tell(TaskStarted(request, process.pid))
            code = process.wait()
            if mode == "twice":  # as a cluster does that has lost sight of a machine
                second = subprocess.run(command, env=environment, cwd=os.environ["ELSEWHERE"], stderr=subprocess.PIPE)
                with open(os.environ["ELSEWHERE"] + "/second", "wb") as file:
                    file.write(second.stderr)
            if mode == "lost":
                self.tell(TaskExited(request, -9, "The machine was lost."))
            else:
                self.tell(TaskExited(request, code))
            os.close(out)
            os.close(err)

        out, err = os.dup(stdout), os.dup(stderr)
        threading.Thread(target=run).start()

    def events(self):
        os.read(self.reader, 1) if self.seen else None
        with self.lock:
            found, self.seen = self.seen, []
        return found

    def kill(self, request, force):
        self.processes[request.key].kill()

    def close(self):
        pass

@hookimpl
def step_decorators():
    return [Elsewhere]

@hookimpl
def open_remote_compute(name):
    return Place() if name == "elsewhere" else None
"""
FLOW = """
import sys, os
from metaflow_core.plugins import manager
import plugin_elsewhere
manager().register(plugin_elsewhere)
from metaflow import FlowSpec, Parameter, catch, current, elsewhere, retry, step, timeout
from helper import double

class AwayFlow(FlowSpec):
    n = Parameter("n", default=3)

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    {above}
    @step
    def work(self):
        print("work", self.input, os.environ.get("HOME_OF_DRIVER"))
        print("to stderr", file=sys.stderr)
        {body}
        self.twice = double(self.input)
        self.place = os.getcwd()
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(i.twice for i in inputs)
        self.places = sorted({{i.place for i in inputs}})
        self.next(self.end)

    @step
    def end(self):
        print("total", self.total, self.places)

AwayFlow()
"""


def flow(project: Path, above: str = "@elsewhere", body: str = "pass") -> str:
    (project / "plugin_elsewhere.py").write_text(PLUGIN)
    (project / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    return FLOW.format(above=above, body=body)


@pytest.fixture
def team(project: Path, s3: str, team_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database and a store for several machines; gives the folder of the other one."""
    other = tmp_path / "other machine"
    other.mkdir()
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    monkeypatch.setenv("ELSEWHERE", str(other))
    return other


def test_a_step_elsewhere(run_flow: RunFlow, project: Path, team: Path) -> None:
    (project / "below").mkdir()
    result = run_flow(flow(project), "run")
    assert "steps {'work': ['python']}" in result.stderr
    assert "work 1 None" in result.stdout
    assert "to stderr" in result.stdout
    assert "total 6 ['" + str(team) in result.stdout
    assert "to stderr" in run_flow(project / "flow.py", "logs", "1/work", "--stderr").stdout
    # Every task was unpacked into one folder, once.
    assert len([folder for folder in team.iterdir() if folder.is_dir()]) == 1


def test_all_steps_elsewhere(run_flow: RunFlow, project: Path, team: Path) -> None:
    result = run_flow(flow(project, ""), "run", "--n", "1", "--with", "elsewhere")
    assert "total 0 ['" + str(team) in result.stdout
    assert "'end': ['python']" in result.stderr


def test_a_failure_elsewhere_is_repeated(run_flow: RunFlow, project: Path, team: Path) -> None:
    body = "if current.retry_count == 0 and self.input == 1: raise ValueError('the first time')"
    result = run_flow(flow(project, "@retry(times=1)\n    @elsewhere", body), "run")
    assert "ValueError: the first time" in result.stdout
    assert "Task is starting (retry)." in result.stdout
    assert "total 6" in result.stdout


def test_a_machine_that_was_lost_too_early(run_flow: RunFlow, project: Path, team: Path) -> None:
    """It is told that the task died, but its result was stored before: it counts."""
    result = run_flow(flow(project, "@elsewhere(mode='lost')"), "run")
    assert "total 6" in result.stdout


def test_a_process_that_dies_elsewhere(run_flow: RunFlow, project: Path, team: Path) -> None:
    body = "if self.input == 1: os.kill(os.getpid(), 9)"
    result = run_flow(flow(project, "@catch(var='died')\n    @elsewhere", body), "run", check=False)
    assert "was killed by signal 9 (SIGKILL)" in result.stdout
    assert "Task fallback is starting to handle the failure." in result.stdout
    assert "@catch caught the failure" in result.stdout


def test_an_attempt_runs_once(run_flow: RunFlow, project: Path, team: Path) -> None:
    """Who was given an attempt a second time leaves it alone."""
    result = run_flow(flow(project, "@elsewhere(mode='twice')"), "run", "--n", "1")
    assert result.stdout.count("work 0") == 1
    assert "Attempt 0 of work/2 was begun elsewhere, or was given up." in (team / "second").read_text()


def test_a_result_of_an_attempt_that_was_given_up_is_dropped(run_flow: RunFlow, project: Path, team: Path) -> None:
    body = """
        if current.retry_count == 0:
            import time
            sys.stdout.flush()
            time.sleep(600)
"""
    above = "@timeout(seconds=1)\n    @retry(times=1)\n    @elsewhere"
    result = run_flow(flow(project, above, body.strip()), "run", "--n", "1")
    assert "TimeoutException" in result.stdout
    assert "total 0" in result.stdout


def test_files_of_this_machine_are_no_use_elsewhere(
    run_flow: RunFlow, project: Path, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = flow(project)
    result = run_flow(source, "--metadata", f"sqlite:///{project}/x.db", "run", check=False)
    assert result.returncode == 1
    assert (
        "@elsewhere runs step work on another machine, which can't use the metadata database sqlite://" in result.stderr
    )
    result = run_flow(source, "--datastore", str(project), "run", check=False)
    assert result.returncode == 1
    assert "which can't use the artifact store /" in result.stderr
    assert "Workflow starting" not in result.stdout
