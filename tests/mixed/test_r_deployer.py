"""R's ``deployer()`` and ``run(toy = "create")``, with the orchestrator of ``plan_walker``, which needs no service."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import plan_walker
from metaflow import Run

from tests.conftest import RunR

FLOW = """
    library(metaflow)
    metaflow("TrainFlow", project(name = "shop")) |>
      parameter("alpha", default = 0.5) |>
      parameter("names", default = "a", separator = ",") |>
      parameter("data", type = "json", default = "{}") |>
      step(step = "start", r_function = function(self) self$sizes <- c(1, 2), next_step = "outer", foreach = "sizes") |>
      step(step = "outer", r_function = function(self) {
        self$inner <- rep(self$input, self$input)
      }, next_step = "leaf", foreach = "inner") |>
      step(step = "leaf", r_function = function(self) {
        self$way <- if (self$input == 1) "small" else "large"
      }, next_step = c(small = "small", large = "large"), condition = "way") |>
      step(step = "small", r_function = function(self) self$found <- 1, next_step = "met") |>
      step(step = "large", PYTHON next_step = "met") |>
      step(step = "met", next_step = "gather") |>
      step(step = "gather", r_function = function(self, inputs) {
        self$found <- unlist(gather_inputs(inputs, "found"))
      }, join = TRUE, next_step = "collect") |>
      step(step = "collect", r_function = function(self, inputs) {
        self$every <- gather_inputs(inputs, "found")
      }, join = TRUE, next_step = "end") |>
      step(step = "end", r_function = function(self) self$given <- list(self$alpha, self$names, self$data)) |>
      run(RUN)
    """
PLAIN = "r_function = function(self) self$found <- 10 * self$input,"


def test_an_r_flow_is_deployed_triggered_and_looked_after(toy: Path, r_project: Path, run_r: RunR) -> None:
    source = dedent(FLOW).replace("PYTHON", PLAIN)
    (r_project / "train.R").write_text(source.replace("RUN", ""), encoding="utf-8")
    (r_project / "again.R").write_text(source.replace("RUN", 'toy = "create", generate_new_token = TRUE'))
    (r_project / "bad.R").write_text(source.replace("RUN", 'authorize = "x", step_fucntions = "create"'))
    result = run_r(
        r"""
        library(metaflow)
        tell <- function(call) tryCatch({ call; cat("no error\n") }, metaflow_error = function(e) {
          cat(class(e)[[1]], sub("\n.*", "", conditionMessage(e)), "\n")
        })
        made <- deployer("train.R", show_output = FALSE, production = TRUE)
        deployed <- made$toy(shade = "blue")$create(tags = c("a", "b"))
        deployed
        cat("deployed:", deployed$flow_name, deployed$orchestrator, nchar(deployed$production_token) > 20, "\n")
        cat("owner:", deployed$status()$owner, "\n")
        done <- deployed$trigger(alpha = 3, names = c("x,y", "z"), data = list(k = c(1, 2)))
        cat("done:", done$status, done$run$successful, done$run$data$given[[1]], done$run$data$given[[2]], "\n")
        cat("every:", unlist(done$run$data$every), "tags:", sort(done$run$user_tags), "\n")
        found <- deployed_flow("shop.prod.TrainFlow")
        later <- found$trigger(later = TRUE)
        cat("wait:", later$wait_for_run(60) == later$pathspec, "\n")
        later$terminate()
        cat("runs:", vapply(found$list_runs(), function(one) one$run_id, ""), later$status,
          length(found$list_runs("failed", "running")), found$run("toy-1")$run_id, "\n")
        tell(made$step_fucntions())
        tell(made$toy()$create(max_wokers = 3))
        tell(made$toy()$create(max_workers = 0))
        tell(deployed$trigger(alpah = 1))
        tell(deployed$trigger(alpha = "x"))
        tell(deployed$trigger(names = sum))
        tell(deployed$trigger(names = new.env()))
        tell(deployed$trigger(data = list(k = quote(x))))
        tell(deployed$trigger(help = TRUE))
        tell(deployed$run("--help"))
        tell(deployed$run(5))
        tell(deployed$run(NULL))
        tell(deployed$run("toy-9"))
        tell(deployed$list_rnus)
        tell(deployed_flow("shop.prod.TrainFlwo"))
        bob <- c(METAFLOW_USER = "bob", METAFLOW_HOME = "bob")
        other <- deployer("train.R", show_output = FALSE, production = TRUE, env = bob)
        tell(other$toy()$create())
        cat("bob:", other$toy()$create(authorize = deployed$production_token)$name, "\n")
        found$delete()
        tell(found$trigger())
        cat("left:", length(list_deployed_flows("toy")), "\n")
        """,
        name="session.R",
    )
    told = [line.rstrip() for line in result.stdout.splitlines()]
    assert told == [
        "<deployed flow shop.prod.TrainFlow: toy>",
        "deployed: TrainFlow toy TRUE",
        "owner: tester",
        "done: succeeded TRUE 3 x,y z",
        "every: 1 20 20 tags: a b",
        "wait: TRUE",
        "runs: toy-2 toy-1 terminated 0 toy-1",
        "metaflow_unknown_member There is no orchestrator `step_fucntions`. Did you mean `step_functions`?",
        "metaflow_invalid_argument toy()$create() has no argument `max_wokers`. Did you mean `max_workers`?",
        "metaflow_usage MetaflowUsageError: Invalid value for '--max-workers': 0 is not in the range x>=1.",
        "metaflow_usage MetaflowUsageError: No such option '--alpah'. (Did you mean one of: '--alpha', '--data', '--help'?)",  # noqa: E501
        "metaflow_usage MetaflowUsageError: Invalid value for '--alpha': must be a number, not 'x'.",
        "metaflow_invalid_argument trigger(): Parameter 'names': <function written in R: function (..., na.rm = "
        "FALSE)> can't be given. Give it a text, a number, True or False, or JSON.",
        "metaflow_invalid_argument trigger(): Parameter 'names': <environment written in R: <environment: >> can't be "
        "given. Give it a text, a number, True or False, or JSON.",
        "metaflow_invalid_argument trigger(): Parameter 'data': {'k': <name written in R: symbol x>} can't be "
        "written as JSON: Object of type OpaqueValue is not JSON serializable.",
        "metaflow_invalid_argument trigger(): The flow has no parameter 'help'.",
        *(
            f'metaflow_usage run() takes the id of a run, such as "airflow-4a56ce8e4c0d5530", not {given}.'
            for given in ('"--help"', "5", "NULL")
        ),
        "metaflow_not_found MetaflowNotFound: The toy has no run toy-9.",
        "metaflow_unknown_member A deployed flow has no `list_rnus`. Did you mean `list_runs`?",
        "metaflow_not_found Nothing is deployed as shop.prod.TrainFlwo. Did you mean shop.prod.TrainFlow?",
        "metaflow_incorrect_production_token IncorrectProductionToken: shop.prod.TrainFlow is the production version, "
        + next(line for line in told if "metaflow_incorrect" in line).partition("production version, ")[2],
        "bob: shop.prod.TrainFlow",
        "metaflow_not_found MetaflowNotFound: Nothing is deployed as shop.prod.TrainFlow on toy. There are: none.",
        "left: 0",
    ], result.stdout + result.stderr

    # In a script, run() deploys.
    created = run_r(r_project / "again.R")
    assert "shop.user.tester.TrainFlow is deployed on Toy" in created.stdout
    again = run_r(r_project / "again.R")
    assert again.stdout.split("production:")[1].split()[0] != created.stdout.split("production:")[1].split()[0]
    misspelt = run_r(r_project / "bad.R", check=False)
    assert misspelt.returncode == 1
    assert "`step_fucntions`" in misspelt.stderr and "Did you mean `step_functions`?" in misspelt.stderr


def test_nodes_of_a_mixed_flow(toy: Path, r_project: Path, run_r: RunR) -> None:
    (r_project / "large.py").write_text("def large(self):\n    self.found = 10 * self.input\n")
    run_r(dedent(FLOW).replace("PYTHON", 'py_function = "large.py:large",').replace("RUN", ""), "run")
    run_r(r_project / "flow.R", "toy", "create")
    walker = plan_walker.Walker(plan_walker.plan_of("shop.user.tester.TrainFlow"), "toy-1")
    assert walker.run({"alpha": "2"}), walker.output
    ours, theirs = (Run(f"TrainFlow/{id}", _namespace_check=False) for id in ("toy-1", "1"))
    assert ours["collect"].task.data.every == theirs["collect"].task.data.every
    assert ours["collect"].task.data.every[1] == [20.0, 20.0]
    assert ours.data.given[0] == 2
