"""`project()`, `schedule()` and `trigger()` in R."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run
from metaflow_core.decorators.project import project_of
from metaflow_core.deployment.events import triggers_of
from metaflow_core.deployment.schedule import schedule_of
from metaflow_core.graph.model import DecoratorSpec, FlowDef, ParameterDef

PROJECT_FLOW = """
library(metaflow)

start <- function(self) {
  cat("project name:", current("project_name"), "\\n")
  cat("project branch:", current("branch_name"), "\\n")
  cat("is this a production run?", current("is_production"), "\\n")
  cat(current()$project_flow_name, current("is_user_branch"), is.null(current("trigger")), "\\n")
}

metaflow("ProjectFlow", DECORATORS) |>
  step(step = "start", r_function = start, next_step = "python") |>
  step(step = "python", py_function = "steps.py:told", next_step = "end") |>
  step(step = "end") |>
  run()
"""
STEPS = "from metaflow import current\ndef told(self): print('python:', current.branch_name)\n"


@pytest.mark.parametrize(
    ("options", "branch", "production"),
    [
        ([], "user.tester", "FALSE"),
        (["--production"], "prod", "TRUE"),
        (["--branch", "better_version"], "test.better_version", "FALSE"),
        (["--production", "--branch", "better_version"], "prod.better_version", "TRUE"),
    ],
)
def test_branches_of_the_article(
    run_r: Any, r_project: Path, printed: Callable[[Any], list[str]], options: list[str], branch: str, production: str
) -> None:
    (r_project / "steps.py").write_text(STEPS)
    source = PROJECT_FLOW.replace("DECORATORS", 'decorator("project", name = "example_project")')
    lines = [line.rstrip() for line in printed(run_r(source, *options, "run"))]
    for told in (
        "project name: example_project",
        f"project branch: {branch}",
        f"is this a production run? {production}",
        f"example_project.{branch}.ProjectFlow {'TRUE' if branch.startswith('user.') else 'FALSE'} TRUE",
        f"python: {branch}",
    ):
        assert told in lines, lines
    assert {"project:example_project", f"project_branch:{branch}"} <= Run("ProjectFlow/1").system_tags


def test_what_is_refused(run_r: Any, r_project: Path) -> None:
    (r_project / "steps.py").write_text(STEPS)
    for decorators, options, says in (
        ('project(name = "Big Idea")', [], "For example: big_idea"),
        ("project()", [], "needs the name of the project."),
        ('project(nmae = "p")', [], "Did you mean `name`?"),
        ('project(name = "p"), project(name = "q")', [], "stands there twice"),
        ('schedule(hourly = TRUE, cron = "0 0 * * *")', [], "says hourly and cron"),
        ("schedule(weekly = 1)", [], "weekly must be true or false, not 1.0"),
        ('trigger(event = list(name = "e", parameters = "alpha"))', [], "which the flow does not have"),
        ("schedule()", ["--branch", "b"], "--branch is an option of flows with @project"),
    ):
        refused = run_r(PROJECT_FLOW.replace("DECORATORS", decorators), *options, "check", check=False)
        assert refused.returncode != 0 and says in refused.stdout + refused.stderr, refused.stderr


SECOND = """
library(metaflow)

flow <- metaflow(
  "Second",
  project(name = "fraud"),
  schedule(cron = "0 10 ? * MON-FRI *", timezone = "Europe/Berlin"),
  trigger(events = list("a", list(name = "b", parameters = list(alpha = "field")))),
  trigger(event = list(name = "c", parameters = c("alpha", "beta"))),
  trigger(event = list(name = "d", parameters = c(alpha = "field"))),
  trigger_on_finish(flows = c("First", "p.prod.Other")),
  trigger_on_finish(flow = list(name = "First", project_branch = "prod"))
) |>
  parameter("alpha", default = 1) |>
  parameter("beta", default = 2) |>
  step(step = "start", next_step = "end", r_function = function(self) {
    found <- current("trigger")
    print(found)
    self$names <- vapply(found$events, function(event) event$name, "")
    self$model <- found$run$artifact("model")
    stopifnot(inherits(found$run, "run_client"), length(found$runs) == 1L, found$event$type == "run")
    stopifnot(inherits(found$event$timestamp, "POSIXct"), identical(found$event$payload, list(pathspec = "First/1")))
  }) |>
  step(step = "end")

run(flow, trigger = "First/1", branch = "b")
"""
FIRST = """
from metaflow import FlowSpec, project, step

@project(name="fraud")
class First(FlowSpec):
    @step
    def start(self):
        self.model = [1.5, 2.5]
        self.next(self.end)

    @step
    def end(self):
        pass

First()
"""


def test_a_run_that_a_python_flow_has_triggered(run_r: Any, run_flow: Any, r_project: Path) -> None:
    run_flow(FIRST, "--branch", "b", "run", name="first.py")
    result = run_r(SECOND, "run")
    name = "metaflow.fraud.test.b.First.end"
    assert f"<trigger: {name}>" in result.stdout
    data = Run("Second/1")["start"].task.data
    assert data.names == name and data.model == [1.5, 2.5]
    client = """
        library(metaflow)
        run <- run_client$new("Second/1")
        cat(run$trigger$run$pathspec, run$trigger$event$id, names(run$trigger), length(run$trigger), "\\n")
        cat(is.null(run_client$new("First/1")$trigger), is.null(current("trigger")), "\\n")
        cat(conditionMessage(tryCatch(run$trigger$evnet, metaflow_unknown_member = identity)), "\\n")
    """
    told = run_r(client, name="client.R").stdout
    assert "First/1 First/1 event events run runs 1" in told and "TRUE TRUE" in told
    assert "a trigger has no `evnet`. Did you mean `event`?" in told


def test_an_r_flow_says_what_a_python_flow_would(run_r: Any, r_project: Path) -> None:
    (r_project / "ask.py").write_text(
        "import json\n"
        "from metaflow import FlowMutator\n"
        "class Ask(FlowMutator):\n"
        "    def mutate(self, flow):\n"
        "        print('ASKED', json.dumps([[one[0], one[3]] for one in flow.decorator_specs]))\n"
    )
    program = SECOND.replace('"Second",', '"Second", decorator("ask.Ask"),', 1)
    result = run_r(program, "--trigger", "First/1", "check")
    asked = next(line for line in result.stdout.splitlines() if line.startswith("ASKED "))
    flow = FlowDef("Second", parameters=[ParameterDef("alpha"), ParameterDef("beta")])
    flow.decorators = [DecoratorSpec(name, given) for name, given in json.loads(asked.removeprefix("ASKED "))]
    assert schedule_of(flow) == ("0 10 * * 1-5", "Europe/Berlin")
    project = project_of(flow, {"branch": "b"})
    assert project == ("fraud", "test.b", False, "fraud.test.b.Second")
    assert [[event[:2] for event in trigger.events] for trigger in triggers_of(flow, project)] == [
        [("a", {}), ("b", {"alpha": "field"})],
        [("c", {"alpha": "alpha", "beta": "beta"})],
        [("d", {"alpha": "field"})],
        [("metaflow.fraud.test.b.First.end", {}), ("metaflow.p.prod.Other.end", {})],
        [("metaflow.fraud.prod.First.end", {})],
    ]
