"""Flows on a real Airflow, with its own API, scheduler and DAG processor, on PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from airflow_server import PASSWORD, USER, Airflow, environment_of, settings
from object_stores import ObjectStore
from postgresql_server import PostgresServer

from tests.conftest import RunFlow, RunR

pytestmark = [pytest.mark.orchestrators, pytest.mark.slow]

OTHER = "bob"  # who has deployed nothing
FLOW = """
from metaflow import FlowSpec, Parameter, catch, current, retry, step

class ShapesFlow(FlowSpec):
    "Every shape that a graph without loops can have."
    alpha = Parameter("alpha", default=0.5, help="the 'alpha' of \\"it\\"")

    @step
    def start(self):
        self.words = ["a", "bbb", "cc"]
        self.next(self.words_foreach, self.choose)

    @step
    def words_foreach(self):
        self.next(self.word, foreach="words")

    @step
    def word(self):
        self.letters = range(len(self.input))
        self.next(self.letter, foreach="letters")

    @step
    def letter(self):
        self.number = self.input
        self.kind = "even" if self.number % 2 == 0 else "odd"
        self.next({"even": self.even, "odd": self.odd}, condition="kind")

    @retry(times=2, minutes_between_retries=0)
    @step
    def even(self):
        if self.number == 2 and current.retry_count == 0:
            raise ValueError("only the first time")
        self.found = [self.number, "even", current.retry_count]
        self.next(self.letter_done)

    @catch(var="problem", print_exception=False)
    @step
    def odd(self):
        self.found = [self.number, "odd"]
        raise ValueError("is caught")
        self.next(self.letter_done)

    @step
    def letter_done(self):
        self.next(self.letters_joined)

    @step
    def letters_joined(self, inputs):
        self.per_word = [getattr(each, "found", None) for each in inputs]
        self.next(self.words_joined)

    @step
    def words_joined(self, inputs):
        self.all_found = [each.per_word for each in inputs]
        self.next(self.joined)

    @step
    def choose(self):
        self.large = "yes" if self.alpha > 1 else "no"
        self.next({"yes": self.much, "no": self.little}, condition="large")

    @step
    def much(self):
        self.twice = self.alpha * 2
        self.next(self.chosen)

    @step
    def little(self):
        self.next(self.chosen)

    @step
    def chosen(self):
        self.next(self.joined)

    @step
    def joined(self, inputs):
        self.merge_artifacts(inputs, exclude=["per_word"])
        self.next(self.end)

    @step
    def end(self):
        self.result = [self.all_found, self.large]

if __name__ == "__main__":
    ShapesFlow()
"""
R_FLOW = """
library(metaflow)
metaflow("ShapesRFlow") |>
  parameter("alpha", default = 0.5) |>
  step(step = "start", next_step = "word", foreach = "words", r_function = function(self) {
    self$words <- c("a", "bbb", "cc")
  }) |>
  step(step = "word", next_step = "letter", foreach = "letters", r_function = function(self) {
    self$letters <- as.list(seq_len(nchar(self$input)))
  }) |>
  step(step = "letter", condition = "kind", next_step = c(even = "even", odd = "odd"), r_function = function(self) {
    self$number <- self$input
    self$kind <- if (self$number %% 2 == 0) "even" else "odd"
  }) |>
  step(retry(times = 1, minutes_between_retries = 0), step = "even", next_step = "done", r_function = function(self) {
    if (current("retry_count") == 0) stop("only the first time")
    self$found <- list(self$number, "even", alpha = self$alpha)
  }) |>
  step(step = "odd", next_step = "done", r_function = function(self) self$found <- list(self$number, "odd")) |>
  step(step = "done", next_step = "letters_joined", r_function = function(self) NULL) |>
  step(step = "letters_joined", join = TRUE, next_step = "joined", r_function = function(self, inputs) {
    self$per_word <- gather_inputs(inputs, "found")
  }) |>
  step(step = "joined", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$all_found <- gather_inputs(inputs, "per_word")
  }) |>
  step(step = "end", r_function = function(self) self$table <- data.frame(x = 1:3, y = c("a", NA, "c"))) |>
  run()
"""
MIXED_FLOW = """
from metaflow import FlowSpec, Parameter, r_step, step

class MixedShapesFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.sizes = [1, 2]
        self.next(self.outer, foreach="sizes")

    @r_step("steps.R", "outer")
    def outer(self):
        self.next(self.inner, foreach="parts")

    @step
    def inner(self):
        self.part = int(self.input)
        self.way = "first" if self.part == 1 else "rest"
        self.next({"first": self.in_r, "rest": self.in_python}, condition="way")

    @r_step("steps.R", "in_r")
    def in_r(self):
        self.next(self.inner_join)

    @step
    def in_python(self):
        self.fitted = self.part * 10.0
        self.next(self.inner_join)

    @r_step("steps.R", "gathered")
    def inner_join(self, inputs):
        self.next(self.outer_join)

    @step
    def outer_join(self, inputs):
        self.everything = [list(each.gathered) for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    MixedShapesFlow()
"""
R_STEPS = """
outer <- function(self) self$parts <- as.list(seq_len(self$input + 1))
in_r <- function(self) self$fitted <- self$part + self$alpha
gathered <- function(self, inputs) self$gathered <- unlist(gather_inputs(inputs, "fitted"))
"""
ARTIFACTS = """
import json, sys
from metaflow import Run, namespace
namespace(sys.argv[2])
run = Run(sys.argv[1])
found = {}
for step in run.steps():
    # What was caught says in which file, which is elsewhere on a worker.
    tasks = [{a.id: "caught" if a.id == "problem" else repr(a.data) for a in task} for task in step.tasks()]
    found[step.id] = sorted(tasks, key=lambda task: json.dumps(task, sort_keys=True))
print(json.dumps({"successful": run.successful, "tags": sorted(run.tags), "steps": found}))
"""


@pytest.fixture(scope="module")
def metadata(postgresql: PostgresServer, team_template: str) -> Iterator[str]:
    with postgresql.database(team_template) as url:
        yield url


@pytest.fixture(scope="module")
def worker(seaweedfs: ObjectStore, r_library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the machine of the workers has: credentials of the store, R, and no setting of Metaflow but its cache."""
    home = tmp_path_factory.mktemp("worker")
    aws = {name: value for name, value in seaweedfs.environment.items() if not name.startswith("METAFLOW_")}
    return {**aws, "HOME": str(home), "R_LIBS": str(r_library), "METAFLOW_STORE_CACHE": str(home / "cache")}


@pytest.fixture(scope="module")
def airflow(
    postgresql: PostgresServer, worker: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    program = environment_of("3")
    with postgresql.database() as database, ExitStack() as stack:
        yield Airflow(program, tmp_path_factory.mktemp("airflow"), database, worker, stack)


@pytest.fixture(scope="module")
def store_url(seaweedfs: ObjectStore) -> str:
    return seaweedfs.new_url()


@pytest.fixture
def team(r_project: Path, s3: str, store_url: str, metadata: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose runs are where other machines reach them."""
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", store_url)
    monkeypatch.setenv("METAFLOW_METADATA_URL", metadata)
    monkeypatch.setenv("METAFLOW_AIRFLOW_PYTHON", sys.executable)
    return r_project


@pytest.fixture
def production(team: Path, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """A project that is deployed to Airflow."""
    monkeypatch.setenv("METAFLOW_AIRFLOW_REST_API", airflow.url)
    monkeypatch.setenv("METAFLOW_AIRFLOW_DAGS_FOLDER", str(airflow.dags))
    monkeypatch.setenv("METAFLOW_AIRFLOW_USER", USER)
    monkeypatch.setenv("METAFLOW_AIRFLOW_PASSWORD", PASSWORD)
    return airflow


def namespace_of(created: subprocess.CompletedProcess[str]) -> str:
    return re.search(r"production:\S+", created.stdout)[0]  # type: ignore[index]


def started(triggered: subprocess.CompletedProcess[str]) -> tuple[str, str, str]:
    """The flow, the run, and what Airflow calls it."""
    found = re.search(
        r"(?:Started|Queued) (\w+)/(airflow-[0-9a-f]{16}) on Apache Airflow, as (\S+)\.", triggered.stdout
    )
    assert found, triggered.stdout
    return found[1], found[2], found[3]


def artifacts(run_flow: RunFlow, pathspec: str, namespace: str) -> dict[str, Any]:
    """What somebody else finds of a run."""
    done = run_flow(ARTIFACTS, pathspec, namespace, user=OTHER, name="artifacts.py")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def same_as_locally(
    run: Any, script: str, name: str, flow: str, production: Airflow, run_flow: RunFlow
) -> tuple[str, dict[str, Any]]:
    """Run a flow here and on Airflow, and compare everything that somebody else finds of both."""
    run(script, "run", "--alpha", "1.5", "--run-id-file", "id.txt", name=name)
    local = artifacts(run_flow, f"{flow}/{Path('id.txt').read_text().strip()}", "user:tester")
    assert local["successful"]
    created = run(Path(name), "airflow", "create")
    assert f"{flow} is deployed on Apache Airflow, as {flow}." in created.stdout
    assert PASSWORD not in (production.dags / f"{flow}.py").read_text() + created.stdout + created.stderr
    _, run_id, handle = started(run(Path(name), "airflow", "trigger", "--alpha", "1.5"))
    assert production.ended(flow, handle, seconds=900) == "success", production.output(flow)
    away = artifacts(run_flow, f"{flow}/{run_id}", namespace_of(created))
    assert away["steps"] == local["steps"]
    assert away["successful"]
    assert {"runtime:airflow", namespace_of(created)} <= set(away["tags"])
    return run_id, away


def test_a_flow_in_python(production: Airflow, run_flow: RunFlow) -> None:
    run_id, away = same_as_locally(run_flow, FLOW, "flow.py", "ShapesFlow", production, run_flow)
    assert len(away["steps"]["even"]) == 4 and len(away["steps"]["odd"]) == 2
    assert "little" not in away["steps"] and away["steps"]["much"][0]["twice"] == "3.0"
    listed = run_flow(Path("flow.py"), "airflow", "list-runs", "--succeeded", "--json").stdout.splitlines()
    assert [(run["run_id"], run["status"]) for run in map(json.loads, listed)] == [(run_id, "succeeded")]
    assert run_flow(Path("flow.py"), "airflow", "list-runs", "--failed").stdout.count("airflow-") == 0
    assert run_flow(Path("flow.py"), "airflow", "status", run_id).stdout == "succeeded\n"


def test_a_flow_in_r(production: Airflow, run_r: RunR, run_flow: RunFlow) -> None:
    _, away = same_as_locally(run_r, R_FLOW, "flow.R", "ShapesRFlow", production, run_flow)
    assert len(away["steps"]["even"]) == 2 and len(away["steps"]["odd"]) == 4


def test_a_flow_in_both_languages(production: Airflow, run_flow: RunFlow) -> None:
    Path("steps.R").write_text(R_STEPS)
    _, away = same_as_locally(run_flow, MIXED_FLOW, "flow.py", "MixedShapesFlow", production, run_flow)
    assert len(away["steps"]["in_r"]) == 2 and len(away["steps"]["in_python"]) == 3


FAILS = """
import os
from metaflow import FlowSpec, exit_hook, retry, step

def wake(run):
    print("WOKEN by", run.pathspec)

@exit_hook(on_error=[wake])
class FailsFlow(FlowSpec):
    @step
    def start(self):
        self.x = 41
        self.next(self.work)

    @retry(times=1, minutes_between_retries=0)
    @step
    def work(self):
        if "FIXED" not in os.environ:
            raise ValueError("not fixed")
        self.x += 1
        self.next(self.end)

    @step
    def end(self):
        print("x is", self.x)

if __name__ == "__main__":
    FailsFlow()
"""


def test_a_failed_run_is_resumed_locally(production: Airflow, run_flow: RunFlow) -> None:
    namespace = namespace_of(run_flow(FAILS, "airflow", "create"))
    _, run_id, handle = started(run_flow(Path("flow.py"), "airflow", "trigger"))
    assert production.ended("FailsFlow", handle) == "failed"
    assert {task["task_id"]: task["try_number"] for task in production.tasks("FailsFlow", handle)}["work"] == 2
    assert not artifacts(run_flow, f"FailsFlow/{run_id}", namespace)["successful"]
    assert f"WOKEN by FailsFlow/{run_id}" in production.output("FailsFlow")
    assert run_id in run_flow(Path("flow.py"), "airflow", "list-runs", "--failed").stdout
    resumed = run_flow(Path("flow.py"), "resume", "--origin-run-id", run_id, env={"FIXED": "1"})
    assert "x is 42" in resumed.stdout


SLEEPS = """
import time
from metaflow import FlowSpec, step

class SleepsFlow(FlowSpec):
    @step
    def start(self):
        print("ASLEEP", flush=True)
        time.sleep(1000)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    SleepsFlow()
"""
STATUS = """
import sys
from metaflow import Run, namespace
namespace(None)
print(Run(sys.argv[1]).status)
"""


def test_a_run_is_terminated(production: Airflow, run_flow: RunFlow) -> None:
    run_flow(SLEEPS, "airflow", "create")
    _, run_id, handle = started(run_flow(Path("flow.py"), "airflow", "trigger"))
    production.until(lambda: "ASLEEP" in production.output("SleepsFlow"), "the step to sleep")
    terminated = run_flow(Path("flow.py"), "airflow", "terminate", run_id)
    assert terminated.stdout == f"SleepsFlow/{run_id} is terminated.\n"
    assert production.ended("SleepsFlow", handle) == "failed"
    assert run_id in run_flow(Path("flow.py"), "airflow", "list-runs", "--terminated").stdout
    assert run_flow(STATUS, f"SleepsFlow/{run_id}", name="status.py").stdout == "failed\n"
    # It has ended: nothing more is done to it.
    assert "terminated" in run_flow(Path("flow.py"), "airflow", "terminate", run_id).stdout


def test_a_run_that_takes_too_long(production: Airflow, run_flow: RunFlow) -> None:
    script = SLEEPS.replace("SleepsFlow", "LateFlow")
    run_flow(script, "airflow", "create", "--workflow-timeout", "25s")
    _, run_id, handle = started(run_flow(Path("flow.py"), "airflow", "trigger"))
    assert production.ended("LateFlow", handle) == "failed"
    assert run_flow(Path("flow.py"), "airflow", "status", run_id).stdout == "timed-out\n"
    production.until(lambda: run_flow(STATUS, f"LateFlow/{run_id}", name="status.py").stdout == "failed\n", "its end")


SCHEDULED = """
from metaflow import FlowSpec, project, schedule, step

@project(name="shop")
@schedule(cron="* * * * *", timezone="Europe/Berlin")
class TicksFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    TicksFlow()
"""
AFTER = """
library(metaflow)
metaflow("FollowsRFlow", decorator("project", name = "shop"), decorator("trigger_on_finish", flow = "TicksFlow")) |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$before <- current("trigger")$run$pathspec
  }) |>
  step(step = "end", r_function = function(self) NULL) |>
  run()
"""
BEFORE = """
import sys
from metaflow import Flow, namespace
namespace(sys.argv[1])
for run in Flow("FollowsRFlow"):
    if run.successful:
        print(run.data.before, run.finished_at > run.created_at)
"""


def test_a_schedule_and_what_follows_another_flow(production: Airflow, run_flow: RunFlow, run_r: RunR) -> None:
    namespace = namespace_of(run_r(AFTER, "airflow", "create"))
    run_flow(SCHEDULED, "airflow", "create")
    ticks, follows = "shop.user.tester.TicksFlow", "shop.user.tester.FollowsRFlow"
    first = production.until(lambda: production.runs(ticks), "a minute to begin")[-1]
    assert first["run_type"] == "scheduled"
    run = production.until(lambda: production.runs(follows), "the other flow to start")[-1]
    assert run["run_type"] == "asset_triggered"
    listed = json.loads(run_flow(Path("flow.py"), "airflow", "list-runs", "--json").stdout.splitlines()[-1])
    run_flow(Path("flow.py"), "airflow", "delete")
    assert production.ended(follows, run["dag_run_id"]) == "success"
    found = run_flow(BEFORE, namespace, user=OTHER, name="before.py").stdout.splitlines()
    assert f"TicksFlow/{listed['run_id']} True" in found
    assert not (production.dags / f"{ticks}.py").exists()
    assert "Nothing is deployed as" in run_flow(Path("flow.py"), "airflow", "trigger", check=False).stderr
    run_r(Path("flow.R"), "airflow", "delete")


WAITS = """
from metaflow import FlowSpec, Parameter, current, step, trigger

@trigger(events=[{"name": "prices ready", "parameters": {"alpha": "a"}}, "stock ready"])
@trigger(event={"name": "urgent", "parameters": {"alpha": "how"}})
class WaitsFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.names = sorted(event.name for event in current.trigger.events)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    WaitsFlow()
"""
WAITED = """
from metaflow import Flow, namespace
namespace(None)
for run in Flow("WaitsFlow"):
    print(run.data.names, run.data.alpha)
"""


def test_events(production: Airflow, run_flow: RunFlow) -> None:
    """An event is an asset of Airflow: all of one decorator, any of several; the payload gives parameters."""
    run_flow(WAITS, "airflow", "create")
    assets = {one["name"]: one["id"] for one in production.request("GET", "/assets?limit=1000")["assets"]}

    def send(name: str, **payload: Any) -> None:
        production.request("POST", "/assets/events", {"asset_id": assets[name], "extra": payload})

    send("prices ready", a=3.5)
    send("urgent", how=7)
    urgent = production.until(lambda: production.runs("WaitsFlow"), "the urgent one")
    assert production.ended("WaitsFlow", urgent[0]["dag_run_id"]) == "success"
    assert run_flow(WAITED, name="waited.py").stdout == "['urgent'] 7.0\n"
    # Airflow has forgotten the other event with that.
    send("prices ready", a=4.5)
    send("stock ready")
    both = production.until(lambda: production.runs("WaitsFlow")[1:], "both events")
    assert len(both) == 1
    assert production.ended("WaitsFlow", production.runs("WaitsFlow")[0]["dag_run_id"]) == "success"
    found = run_flow(WAITED, name="waited.py").stdout.splitlines()
    assert found[0] == "['prices ready', 'stock ready'] 4.5"
    run_flow(Path("flow.py"), "airflow", "delete")


def test_a_folder_that_airflow_does_not_read(production: Airflow, run_flow: RunFlow, tmp_path: Path) -> None:
    """Nothing is left of what was not deployed."""
    script = SLEEPS.replace("SleepsFlow", "LostFlow")
    env = {"METAFLOW_AIRFLOW_DAGS_FOLDER": str(tmp_path)}
    result = run_flow(script, "airflow", "create", "--wait", "1", env=env, check=False)
    assert result.returncode == 1
    assert "Airflow has not read the DAG file within 1 seconds" in result.stderr
    assert not list(tmp_path.glob("*.py")) and not list(tmp_path.glob(".metaflow-*"))
    assert "Nothing is deployed as LostFlow" in run_flow(Path("flow.py"), "airflow", "trigger", check=False).stderr


def test_who_asks(production: Airflow, run_flow: RunFlow) -> None:
    script = SLEEPS.replace("SleepsFlow", "StrangersFlow")
    result = run_flow(script, "airflow", "create", env={"METAFLOW_AIRFLOW_PASSWORD": "wrong"}, check=False)
    assert result.returncode == 1 and "does not accept who you are" in result.stderr
    result = run_flow(script, "airflow", "create", env={"METAFLOW_AIRFLOW_PASSWORD": ""}, check=False)
    assert result.returncode == 1 and "wants to know who you are" in result.stderr
    assert not (production.dags / "StrangersFlow.py").exists()


@pytest.mark.parametrize("version", ["2", "3"])
def test_airflow_tests_the_dag_file(
    version: str, team: Path, worker: dict[str, str], tmp_path: Path, run_flow: RunFlow
) -> None:
    """``airflow dags test`` without a server, on the oldest and the newest Airflow."""
    program = environment_of(version) / "bin" / "airflow"
    script = FLOW.replace("ShapesFlow", f"Shapes{version}Flow")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")},
        **settings(tmp_path / "airflow", tmp_path / "dags"),
        **worker,
    }
    created = run_flow(script, "airflow", "create", str(tmp_path / "dags" / "shapes.py"))
    for arguments in (["db", "migrate"], *([["dags", "reserialize"]] if version == "3" else [])):
        subprocess.run([program, *arguments], env=environment, capture_output=True, check=True, timeout=300)
    command = [program, "dags", "test", f"Shapes{version}Flow", "--conf", '{"alpha": "1.5"}']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    code = f"""
from metaflow import Flow, namespace
namespace({namespace_of(created)!r})
print(Flow("Shapes{version}Flow").latest_successful_run.data.result)
"""
    assert run_flow(code, user=OTHER, name="look.py").stdout.strip().endswith("'yes']")
