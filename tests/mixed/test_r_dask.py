"""Steps in R on a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from dask_cluster import DaskCluster

from tests.conftest import RunFlow, RunR

FLOW = """
library(metaflow)
source("helper.R")
metaflow("AwayRFlow") |>
  step(step = "start", r_function = function(self) self$items <- 1:3, next_step = "work", foreach = "items") |>
  step(dask(),
    step = "work", next_step = "join",
    r_function = function(self) {
      message("working on ", self$input)
      self$twice <- double(self$input)
      self$home <- basename(Sys.getenv("HOME"))
    }
  ) |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$total <- sum(unlist(gather_inputs(inputs, "twice")))
    self$homes <- unique(unlist(gather_inputs(inputs, "home")))
  }) |>
  step(step = "end", r_function = function(self) cat("total", self$total, "on", self$homes, "\\n")) |>
  run()
"""
MIXED = """
from metaflow import FlowSpec, dask, r_step, step

class MixedAwayFlow(FlowSpec):
    @step
    def start(self):
        self.x = 20
        self.next(self.fit)

    @dask
    @r_step("fit.R", "fit")
    def fit(self):
        self.next(self.end)

    @step
    def end(self):
        print("fitted", self.fitted, self.home)

MixedAwayFlow()
"""
FIT = """
fit <- function(self) {
  self$fitted <- self$x + 1
  self$home <- basename(Sys.getenv("HOME"))
}
"""


@pytest.fixture
def team(r_project: Path, s3: str, team_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)


def without_r(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which there is no R."""
    empty = tmp_path / "empty"
    empty.mkdir()
    return {"PATH": str(empty), "R_HOME": str(empty)}


def test_a_flow_in_r(run_r: RunR, r_project: Path, team: None, dask_cluster: DaskCluster) -> None:
    dask_cluster.start_worker(2)
    (r_project / "helper.R").write_text("double <- function(x) 2 * x\n")
    result = run_r(FLOW, "run")
    assert "working on 2" in result.stdout
    assert "total 12 on worker0" in result.stdout


def test_a_worker_without_r(
    run_flow: RunFlow, r_project: Path, team: None, dask_cluster: DaskCluster, tmp_path: Path
) -> None:
    (r_project / "fit.R").write_text(FIT)
    dask_cluster.start_worker(2, without_r(tmp_path))
    result = run_flow(MIXED, "run", check=False)
    assert result.returncode == 1
    assert "No worker of the Dask cluster can run step fit: " in result.stderr
    assert "does not have R with rpy2 and the R package metaflow" in result.stderr
    assert "Workflow starting" not in result.stdout
    dask_cluster.start_worker(2)
    assert "fitted 21.0 worker1" in run_flow(r_project / "flow.py", "run").stdout
