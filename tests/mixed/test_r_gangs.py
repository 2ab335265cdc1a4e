"""Gangs in R: `num_parallel` and `parallel()`."""

from __future__ import annotations

import re

FLOW = """
library(metaflow)
wait_for <- function(name) while (!file.exists(name)) Sys.sleep(0.01)
metaflow("GangRFlow") |>
  step(step = "start", next_step = "train", num_parallel = 4) |>
  step(
    step = "train", parallel(), retry(times = 1), next_step = "join",
    r_function = function(self) {
      gang <- current("parallel")
      node <- gang$node_index
      stopifnot(identical(current()$parallel$num_nodes, 4L), gang$main_ip == "127.0.0.1", self$index == node)
      cat("node", node, "attempt", current("retry_count"), "\\n")
      # Each waits for all, which ends only when they run at once.
      file.create(paste0("here-", node))
      for (other in 0:3) wait_for(paste0("here-", other))
      if (current("retry_count") == 0 && Sys.getenv("FAIL") != "") {
        if (node == 2) stop("told to")
        wait_for("never")
      }
      self$place <- c(node = node, of = gang$num_nodes)
    }
  ) |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$places <- do.call(rbind, gather_inputs(inputs, "place"))
  }) |>
  step(step = "end", r_function = function(self) cat("places:", self$places[, "node"], "\\n")) |>
  run()
"""


def test_a_gang_runs_at_once_and_is_repeated_as_one(run_r) -> None:
    result = run_r(FLOW, "run", "--max-workers", "4", env={"FAIL": "1"})
    assert sorted(re.findall(r"node \d attempt \d", result.stdout)) == [
        f"node {node} attempt {attempt}" for node in range(4) for attempt in range(2)
    ]
    assert "Stopping the 3 other tasks of its gang." in result.stdout
    assert "places: 0 1 2 3 " in result.stdout


def test_a_gang_is_resumed_as_one(run_r) -> None:
    script = FLOW.replace("parallel(), retry(times = 1)", 'decorator("parallel")')
    assert run_r(script, "run", env={"FAIL": "1"}, check=False).returncode == 1
    resumed = run_r("flow.R", "resume")
    assert len(re.findall(r"node \d attempt 0", resumed.stdout)) == 4
    few = run_r("flow.R", "resume", "train", "--max-workers", "3", check=False)
    assert few.returncode == 1 and "num_parallel=4 needs as many workers, and there are 3." in few.stderr
