"""The samples of the document on organizing results, in R, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NAMED = """
library(metaflow)
metaflow("{name}") %>%
  step(step="start", next_step="end") %>%
  step(step="end") %>%
  run({run})
"""


@pytest.fixture
def results(run_r, r_project: Path):
    """Runs of two flows by two users; gives a function that evaluates R code as one of them."""

    def flow(name: str, run: str = "") -> str:
        path = r_project / f"{name}.R"
        path.write_text(NAMED.format(name=name, run=run))
        return str(path)

    prediction, feature = flow("PredictionFlow"), flow("FeatureFlow")
    run_r(prediction, "run", user="will")
    run_r(prediction, "run", user="anne")
    run_r(feature, "run", "--tag", "xyz_features", user="will")
    run_r(feature, "run", "--tag", "xyz_features", user="anne")

    def evaluate(code: str, user: str = "anne") -> str:
        return str(run_r("library(metaflow)\n" + code + "\n", user=user, name="analysis.R").stdout)

    return evaluate


LATEST = "run <- flow_client$new('PredictionFlow')$latest_run\nprint(run)"


def test_each_user_sees_the_latest_run_of_their_own(results):
    assert results(LATEST) == "PredictionFlow/2\n"
    assert results(LATEST, user="will") == "PredictionFlow/1\n"


def test_switching_namespaces(results):
    assert results("set_namespace('user:will')\n" + LATEST) == "PredictionFlow/1\n"
    failing = """
        outside <- function() flow_client$new('PredictionFlow')$run("1")
        told <- tryCatch(outside(), metaflow_namespace_mismatch = function(e) conditionMessage(e))
        cat(told, "\\n")
        set_namespace('user:will')
        run <- flow_client$new('PredictionFlow')$run("1")
        print(run)
        """
    shown = results(failing)
    assert 'set_namespace("user:will")' in shown
    assert shown.endswith("PredictionFlow/1\n")


def test_the_global_namespace(results):
    assert results("set_namespace(NULL)\nprint(flow_client$new('PredictionFlow')$run(\"1\"))") == "PredictionFlow/1\n"


def test_tags_as_namespaces(results):
    code = "set_namespace('xyz_features')\nrun <- flow_client$new('FeatureFlow')$latest_run\nprint(run)"
    assert results(code, user="will") == "FeatureFlow/2\n"


def test_tagging(run_r, r_project):
    script = r_project / "helloworld.R"
    script.write_text(NAMED.format(name="HelloFlow", run=""))
    run_r(script, "run", "--tag", "crazy_test")
    script.write_text(NAMED.format(name="HelloFlow", run='tag = c("crazy_test")'))
    run_r(script, "run")
    run_r(script, "run", "--tag", "another")
    shown = run_r(
        """
        library(metaflow)
        run <- flow_client$new("HelloFlow")$runs_with_tags("crazy_test")[[1]]
        print(run)
        today <- grep("^date:", run$tags, value = TRUE)
        print(flow_client$new("HelloFlow")$runs_with_tags("crazy_test", today, "another")[[1]])
        print("crazy_test" %in% run$tags)
        """,
        name="analysis.R",
    ).stdout
    assert shown.splitlines() == ["HelloFlow/3", "HelloFlow/3", "[1] TRUE"]


CURRENT = """
library(metaflow)

start <- function(self){
    print(paste0("flow name: ", current("flow_name")))
    print(paste0("run id: ", current("run_id")))
    print(paste0("origin run id: ", current("origin_run_id")))
    print(paste0("step name: ", current("step_name")))
    print(paste0("task id: ", current("task_id")))
    print(paste0("pathspec: ", current("pathspec")))
    print(paste0("username: ", current("username")))
}

metaflow("CurrentFlow") %>%
    step(step="start",
         r_function=start,
         next_step="end") %>%
    step(step="end") %>%
    run()
"""


def test_current_ids(run_r, printed):
    shown = [line for line in printed(run_r(CURRENT, "run", user="jge")) if line.startswith("[1]")]
    assert shown == [
        '[1] "flow name: CurrentFlow"',
        '[1] "run id: 1"',
        '[1] "origin run id: "',
        '[1] "step name: start"',
        '[1] "task id: 1"',
        '[1] "pathspec: CurrentFlow/1/start/1"',
        '[1] "username: jge"',
    ]
    resumed = run_r("flow.R", "resume", "start", user="jge")
    assert '[1] "origin run id: 1"' in printed(resumed)
    assert re.search(r"run-id 2", resumed.stdout)


def test_a_misspelt_argument_suggests_the_right_one(run_r):
    source = NAMED.format(name="ProdFlow", run='step_fucntions = "create", authorize = "TOKEN"')
    result = run_r(source, check=False)
    assert result.returncode == 1
    assert "run() has no argument `step_fucntions`. Did you mean `step_functions`?" in result.stderr
