"""What the published articles show of production, in R and in Python, as it is printed there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_argo import ArgoCluster
from local_agents import agent
from metaflow import Flow, Run, namespace
from step_functions_aws import StepFunctionsService


class People:
    """Those who deploy, each on a machine with a home of their own."""

    def __init__(self, run_flow: Any, run_r: Any, homes: Path) -> None:
        self.runners, self.homes = {".py": run_flow, ".R": run_r}, homes

    def __call__(self, user: str, command: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Carry out ``Rscript flow.R ...`` or ``python flow.py ...``, which ends with this exit code."""
        _, script, *words = command.split()
        env = {"METAFLOW_HOME": str(self.homes / user), **variables}
        done: subprocess.CompletedProcess[str] = self.runners[Path(script).suffix](
            Path(script), *words, user=user, env=env, check=False
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def people(run_flow: Any, run_r: Any, tmp_path: Path) -> People:
    return People(run_flow, run_r, tmp_path)


def namespace_of(created: subprocess.CompletedProcess[str]) -> str:
    return re.search(r"production:\S+", created.stdout)[0]  # type: ignore[index]


# --- Organizing results, in R ----------------------------------------------------------------------------------------

PRODUCTION = """
library(metaflow)
metaflow("ProductionFlow") %>%
step(step = "start",
next_step = "end") %>%
step(step = "end") %>%
{run}
"""
# The article writes `step_fucntions`: see test_r_seeds.py.
AUTHORIZE = """run(step_functions = "create",
authorize = "TOKEN_YOU_SHARED_WITH_THEM")"""
FRESH = """run(step_functions = "create",
generate_new_token = TRUE)"""


def test_production_tokens(
    people: People, step_functions: StepFunctionsService, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    Path("production_flow.R").write_text(PRODUCTION.format(run="run()"))
    command = "Rscript production_flow.R step-functions create"
    first = people("anne", command)
    assert "ProductionFlow is deployed on AWS Step Functions" in first.stdout
    namespace = namespace_of(first)
    token = namespace.removeprefix("production:")
    for others in ("", " --generate-new-token"):
        refused = people("will", command + others, code=1)
        assert "anne" in refused.stderr and token not in refused.stderr
    assert namespace_of(people("will", f"{command} --authorize {token}")) == namespace
    assert namespace_of(people("will", command)) == namespace, "only once"
    assert namespace_of(people("anne", command)) == namespace, "an updated version in the existing namespace"

    # In RStudio, and as a script: what the file says is done without a command.
    Path("shared.R").write_text(PRODUCTION.format(run=AUTHORIZE).replace("TOKEN_YOU_SHARED_WITH_THEM", token))
    Path("rstudio.R").write_text('source("shared.R")\n')
    assert namespace_of(people("carol", "Rscript rstudio.R")) == namespace
    assert namespace_of(people("dave", "Rscript shared.R")) == namespace
    Path("wrong.R").write_text(PRODUCTION.format(run=AUTHORIZE))
    assert "is not its production token" in people("eve", "Rscript wrong.R", code=1).stderr
    # The command line wins.
    shown = people("eve", f"Rscript wrong.R step-functions create --authorize {token}")
    assert namespace_of(shown) == namespace
    assert namespace in people("eve", "Rscript wrong.R step-functions status").stdout

    fresh = namespace_of(people("carol", f"{command} --generate-new-token"))
    Path("fresh.R").write_text(PRODUCTION.format(run=FRESH))
    fresher = namespace_of(people("carol", "Rscript fresh.R"))
    assert len({namespace, fresh, fresher}) == 3
    assert namespace_of(people("carol", command)) == fresher
    people("will", command, code=1)
    machines = step_functions.machines.list_state_machines()["stateMachines"]
    assert len([one for one in machines if one["name"].startswith("ProductionFlow")]) == 1, "the same one each time"


TRAINING = """
library(metaflow)
metaflow("TrainingFlow") %>%
step(step = "start", next_step = "end", r_function = function(self) self$model <- Sys.getenv("MODEL")) %>%
step(step = "end", r_function = function(self) if (Sys.getenv("MODEL") == "broken") stop("as asked")) %>%
run()
"""
PREDICTION = """
library(metaflow)
metaflow("PredictionFlow") %>%
step(step = "start", next_step = "end", r_function = function(self) {
  self$found <- flow_client$new("TrainingFlow")$latest_run$artifact("model")
}) %>%
step(step = "end") %>%
run()
"""
LOOK = """
library(metaflow)
cat("mine:", format(flow_client$new("TrainingFlow")$latest_run), "\\n")
set_namespace(Sys.getenv("PRODUCTION"))
cat("production:", vapply(flow_client$new("TrainingFlow")$runs, format, ""), "\\n")
"""


def test_production_namespaces_and_resuming_across_them(people: People) -> None:
    Path("training.R").write_text(TRAINING)
    Path("look.R").write_text(LOOK)
    people("anne", "Rscript training.R run", MODEL="an experiment")
    produced = namespace_of(people("anne", "Rscript training.R local create"))
    people("anne", "Rscript training.R local trigger")
    agent(env={"MODEL": "the official one"})
    people("anne", "Rscript training.R run", MODEL="another experiment")

    def looks(user: str) -> list[str]:
        return [line.rstrip() for line in people(user, "Rscript look.R", PRODUCTION=produced).stdout.splitlines()]

    assert looks("anne") == ["mine: TrainingFlow/2", "production: TrainingFlow/local-1"]

    # What predicts sees the model of the same namespace, and not what people try.
    Path("deploy.R").write_text(PREDICTION.replace("run()", f'run(local = "create", namespace = "{produced}")'))
    assert namespace_of(people("anne", "Rscript deploy.R")) != produced
    people("anne", "Rscript deploy.R local trigger")
    people("anne", "Rscript training.R local trigger")
    agent("--max-runs", "1", code=1, env={"MODEL": "broken"})
    namespace(None)
    assert Run("PredictionFlow/local-1").data.found == "the official one"

    # Anybody resumes it, without a word of namespaces, and in a namespace of their own.
    resumed = people("will", "Rscript training.R resume --origin-run-id local-2", MODEL="mended")
    assert f"Resuming TrainingFlow/local-2 of {produced}, which failed." in resumed.stderr
    assert looks("will") == ["mine: TrainingFlow/3", "production: TrainingFlow/local-2 TrainingFlow/local-1"]


# --- Coordinating larger projects, in Python -------------------------------------------------------------------------

PROJECT_FLOW = """
from metaflow import FlowSpec, step, project, current

@project(name='example_project')
class ProjectFlow(FlowSpec):

    @step
    def start(self):
        print('project name:', current.project_name)
        print('project branch:', current.branch_name)
        print('is this a production run?', current.is_production)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == '__main__':
    ProjectFlow()
"""
R_PROJECT_FLOW = """
library(metaflow)
metaflow("ProjectFlow", project(name = "example_project")) |>
  step(step = "start", next_step = "end") |>
  step(step = "end") |>
  run()
"""


def deploys(people: People, user: str, options: str, create: str, name: str) -> str:
    """Deploy the flow, as example_project.NAME.ProjectFlow; its namespace."""
    done = people(user, f"python project_flow.py {options} {create}")
    assert f"example_project.{name}.ProjectFlow is " in done.stdout, done.stdout
    return namespace_of(done)


def test_a_project_of_alice_bob_and_carol(
    people: People, step_functions: StepFunctionsService, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    Path("project_flow.py").write_text(PROJECT_FLOW)
    create = "step-functions create"
    created = [deploys(people, user, "", create, f"user.{user}") for user in ("alice", "bob", "carol")]
    for options, name in (
        ("--production", "prod"),
        ("--branch better_version", "test.better_version"),
        ("--branch better_version --production", "prod.better_version"),
    ):
        created.append(deploys(people, "alice", options, create, name))
    assert len(set(created)) == 6
    refused = people("bob", f"python project_flow.py --production {create}", code=1)
    assert "You have not shown its production token yet" in refused.stderr
    token = created[4].removeprefix("production:")
    deploys(people, "bob", "--branch better_version", f"{create} --authorize {token}", "test.better_version")
    machines = step_functions.machines.list_state_machines()["stateMachines"]
    assert len([one for one in machines if one["name"].startswith("example_project-")]) == 6


@pytest.mark.parametrize("create", ["argo-workflows create", "airflow create project_dag.py"])
def test_the_same_on_other_orchestrators(
    people: People, create: str, argo_api: ArgoCluster, s3: str, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    Path("project_flow.py").write_text(PROJECT_FLOW)
    own = deploys(people, "alice", "", create, "user.alice")
    branch = deploys(people, "alice", "--branch better_version --production", create, "prod.better_version")
    assert own != branch
    refused = people("bob", f"python project_flow.py --branch better_version --production {create}", code=1)
    assert "You have not shown its production token yet" in refused.stderr
    # The next version of the flow, with the same name, may be one in R.
    Path("project_flow.R").write_text(R_PROJECT_FLOW)
    again = people("alice", f"Rscript project_flow.R --branch better_version --production {create}")
    assert namespace_of(again) == branch


REPORT_FLOW = """
library(metaflow)
metaflow("ReportFlow", project(name = "example_project"), trigger_on_finish(flow = "ProjectFlow")) |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$told <- paste(current("branch_name"), current("trigger")$run$pathspec)
  }) |>
  step(step = "end") |>
  run()
"""
CONFIGURED = """
    rates = Config('rates', default='rates.json')

    @step
    def start(self):
        from metaflow import Flow
        print('latest:', Flow('ProjectFlow').latest_run.pathspec, 'rate:', self.rates.rate)
"""


def test_runs_of_branches_are_apart(people: People) -> None:
    """Each has its own results, configuration and chain of flows."""
    flow = PROJECT_FLOW.replace("import FlowSpec,", "import Config, FlowSpec,")
    Path("project_flow.py").write_text(flow.replace("\n    @step\n    def start(self):\n", CONFIGURED, 1))
    Path("report_flow.R").write_text(REPORT_FLOW)
    names = {"": "user.alice", "--production": "prod", "--branch better_version": "test.better_version"}
    for rate, (options, name) in enumerate(names.items()):
        # As a Git branch has it that is checked out.
        Path("rates.json").write_text(json.dumps({"rate": rate}))
        deploys(people, "alice", options, "local create", name)
        if options:
            people("alice", f"Rscript report_flow.R {options} local create")
        people("alice", f"python project_flow.py {options} local trigger")
    Path("rates.json").write_text('{"rate": "of today"}')
    deploys(people, "bob", "", "local create", "user.bob")
    agent()
    namespace(None)
    for rate, name in enumerate(names.values()):
        run = Run(f"ProjectFlow/local-{rate + 1}")
        assert [line.rstrip() for line in run["start"].task.stdout.splitlines()] == [
            f"latest: {run.pathspec} rate: {rate}",
            "project name: example_project",
            f"project branch: {name}",
            f"is this a production run? {name == 'prod'}",
        ]
    told = sorted(run.data.told for run in Flow("ReportFlow"))
    assert told == ["prod ProjectFlow/local-2", "test.better_version ProjectFlow/local-3"]
