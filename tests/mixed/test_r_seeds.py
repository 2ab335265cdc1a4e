"""The samples in R of the published article on organising results, each as it is printed there."""

from __future__ import annotations

import re

import pytest

FLOW = """
library(metaflow)
metaflow("{name}") %>%
step(step = "start",
next_step = "end") %>%
step(step = "end") %>%
run({arguments})
"""

# A flow is a value, and can be run by several users of one session.
SEVERAL = """
library(metaflow)
flow <- metaflow("PredictionFlow") |> step(step = "start", next_step = "end") |> step(step = "end")
for (user in strsplit(Sys.getenv("WHO"), " ")[[1]]) {
  Sys.setenv(METAFLOW_USER = user)
  run(flow)
}
"""

LATEST = """
library(metaflow)
run <- flow_client$new('PredictionFlow')$latest_run
"""

WILLS_LATEST = """
library(metaflow)
set_namespace('user:will')
run <- flow_client$new('PredictionFlow')$latest_run
"""

BY_ID = """
library(metaflow)
run <- flow_client$new('PredictionFlow')$run("5")
"""

WILLS_BY_ID = """
library(metaflow)
set_namespace('user:will')
run <- flow_client$new('PredictionFlow')$run("5")
"""

ANYONES_BY_ID = """
library(metaflow)
set_namespace(NULL)
run <- flow_client$new('PredictionFlow')$run("5")
"""

FEATURES = """
library(metaflow)
set_namespace('xyz_features')
run <- flow_client$new('FeatureFlow')$latest_run
"""

# In the flow of the article, `--namespace` says whose results a step finds.
USES = """
library(metaflow)
metaflow("UseFlow") %>%
step(step = "start", next_step = "end", r_function = function(self) {
  cat("finds", as.character(flow_client$new("PredictionFlow")$latest_run), "for", current("username"), "\\n")
}) %>%
step(step = "end") %>%
run()
"""


def test_anne_and_will(run_r, printed):
    def sees(user: str, *programs: str) -> list[str]:
        """What the variable ``run`` of each program prints as, after a start in the user's own namespace."""
        script = "".join(f"{program}\nprint(run)\nset_default_namespace()\n" for program in programs)
        return run_r(script, user=user, name="look.R").stdout.splitlines()

    prediction = FLOW.format(name="PredictionFlow", arguments="")
    run_r(prediction, "run", user="will", name="prediction.R")
    run_r(SEVERAL, "run", name="several.R", env={"WHO": "anne will anne will anne anne"})
    run_r("prediction.R", "run", user="anne")
    assert sees("will", LATEST, BY_ID) == ["PredictionFlow/5"] * 2
    assert sees("anne", LATEST, WILLS_LATEST, WILLS_BY_ID, ANYONES_BY_ID, LATEST) == [
        "PredictionFlow/8",
        *["PredictionFlow/5"] * 3,
        "PredictionFlow/8",
    ]
    fails = run_r(BY_ID, user="anne", name="look.R", check=False)
    assert fails.returncode == 1
    told = " ".join(fails.stderr.split())
    assert "MetaflowNamespaceMismatch" in told
    assert "PredictionFlow/5" in told and "user:anne" in told and 'set_namespace("user:will")' in told
    assert "Traceback" not in told

    assert "finds PredictionFlow/8 for anne " in printed(run_r(USES, "run", user="anne", name="use.R"))
    switched = run_r("use.R", "run", "--namespace", "user:will", user="anne")
    assert "finds PredictionFlow/5 for anne " in printed(switched)
    in_file = run_r(USES.replace("run()", 'run(namespace = "user:will")'), "run", user="anne", name="use.R")
    assert "finds PredictionFlow/5 for anne " in printed(in_file)
    assert "finds PredictionFlow/8 for anne " in printed(run_r("use.R", "run", "--namespace", "", user="anne"))
    assert sees("anne", LATEST.replace("PredictionFlow", "UseFlow")) == ["UseFlow/4"], "the runs are Anne's own"


def test_a_shared_tag_is_a_namespace(run_r):
    feature = FLOW.format(name="FeatureFlow", arguments="")
    run_r(feature, "run", user="will", name="feature.R")
    run_r("feature.R", "run", "--tag", "xyz_features", user="anne")
    run_r("feature.R", "run", user="anne")
    for user in ("anne", "will"):
        assert run_r(FEATURES + "print(run)\n", user=user, name="look.R").stdout == "FeatureFlow/2\n"
    run_r(FLOW.format(name="FeatureFlow", arguments='tag = "xyz_features"'), "run", user="will", name="feature.R")
    for user in ("anne", "will"):
        assert run_r("look.R", user=user).stdout == "FeatureFlow/4\n"


def test_tags(run_r):
    hello = FLOW.format(name="HelloFlow", arguments="")
    run_r(hello, "run", "--tag", "crazy_test", name="helloworld.R")
    run_r("helloworld.R", "run")
    run_r(FLOW.format(name="HelloFlow", arguments='tag = c("crazy_test")'), "run", name="helloworld.R")
    run_r("helloworld.R", "run", user="will")
    run_r("helloworld.R", "run", "--tag", "another")
    # The article writes a dot for the `$` here.
    look = """
        library(metaflow)
        run <- flow_client$new("HelloFlow")$runs_with_tags("crazy_test")[[1]]
        print(run)
        day <- grep("^date:", run$tags, value = TRUE)
        run <- flow_client$new("HelloFlow")$runs_with_tags("crazy_test", day)[[1]]
        print(run)
        print(length(flow_client$new("HelloFlow")$runs_with_tags("crazy_test", day)))
        print(length(flow_client$new("HelloFlow")$runs_with_tags("crazy_test", "date:2020-06-01")))
        print(flow_client$new("HelloFlow")$runs_with_tags("crazy_test", day, "another")[[1]])
        stopifnot("crazy_test" %in% run$tags, "user:tester" %in% run$tags)
        stopifnot("crazy_test" %in% run$step("end")$tags, "crazy_test" %in% run$end_task$tags)
        set_namespace("crazy_test")
        print(flow_client$new("HelloFlow")$latest_run)
        none <- function(e) cat("none\\n")
        tryCatch(flow_client$new("HelloFlow")$runs_with_tags("other")[[1]], metaflow_not_found = none)
        """
    found = run_r(look, name="look.R").stdout.splitlines()
    assert found == ["HelloFlow/5", "HelloFlow/5", "[1] 3", "[1] 0", "HelloFlow/5", "HelloFlow/5", "none"]


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

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"


def test_current(run_r):
    def lines(*arguments: str, script: str = "current_flow.R") -> tuple[str, str, list[str]]:
        out = run_r(script, *arguments, user="jge", name="current_flow.R").stdout
        found = re.findall(rf"^{STAMP} \[(\d+)/start/(\d+) \(pid \d+\)\] (.*)$", out, re.M)
        assert len({(run, task) for run, task, _ in found}) == 1
        assert found[-1][2] == "Task finished successfully."
        return found[0][0], found[0][1], [text for _, _, text in found if text.startswith("[1]")]

    def expected(run: str, task: str, origin: str) -> list[str]:
        return [
            '[1] "flow name: CurrentFlow"',
            f'[1] "run id: {run}"',
            f'[1] "origin run id: {origin}"',
            '[1] "step name: start"',
            f'[1] "task id: {task}"',
            f'[1] "pathspec: CurrentFlow/{run}/start/{task}"',
            '[1] "username: jge"',
        ]

    run, task, seven = lines("run", script=CURRENT)
    assert seven == expected(run, task, "")
    resumed, task, seven = lines("resume", "start")
    assert seven == expected(resumed, task, run)
    third, task, seven = lines("resume", "start", "--origin-run-id", run)
    assert seven == expected(third, task, run)
    fourth, task, seven = lines(script=CURRENT.replace("run()", 'run(resume = "start")'))
    assert seven == expected(fourth, task, third)


PRODUCTION = """
library(metaflow)
metaflow("ProductionFlow") %>%
step(step = "start",
next_step = "end") %>%
step(step = "end") %>%
run({arguments})
"""


@pytest.mark.parametrize(
    "arguments",
    [
        'step_fucntions = "create",\nauthorize = "TOKEN_YOU_SHARED_WITH_THEM"',
        'step_fucntions = "create",\ngenerate_new_token = TRUE',
    ],
)
def test_the_articles_misprint_suggests_the_right_argument(run_r, arguments):
    result = run_r(PRODUCTION.format(arguments=arguments), check=False)
    assert result.returncode == 1
    assert "run() has no argument `step_fucntions`. Did you mean `step_functions`?" in result.stderr
    assert result.stdout == ""
