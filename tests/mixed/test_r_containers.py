"""Flows in R on AWS Batch and on Kubernetes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_kubernetes import Cluster
from moto_batch import BatchService

from tests.conftest import RunR

FLOW = """
library(metaflow)
source("helper.R")
metaflow("ContainerFlow") |>
  step(step = "start", r_function = function(self) self$items <- 1:2, next_step = "work", foreach = "items") |>
  step(DECORATOR
    step = "work", next_step = "join",
    r_function = function(self) {
      message("working on ", self$input)
      self$twice <- double(self$input)
      self$home <- basename(dirname(Sys.getenv("HOME")))
    }
  ) |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$total <- sum(unlist(gather_inputs(inputs, "twice")))
    self$homes <- unique(unlist(gather_inputs(inputs, "home")))
  }) |>
  step(step = "end", r_function = function(self) cat("total", self$total, "in", self$homes, "\\n")) |>
  run(ARGUMENTS)
"""


@pytest.fixture
def folder(r_project: Path, team_database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    (r_project / "helper.R").write_text("double <- function(x) 2 * x\n")
    return r_project


def flow(decorator: str, arguments: str = "") -> str:
    return FLOW.replace("DECORATOR", decorator).replace("ARGUMENTS", arguments)


@pytest.mark.slow
def test_kubernetes(run_r: RunR, folder: Path, kubernetes: Cluster) -> None:
    kubernetes.machine["R_LIBS"] = os.environ["R_LIBS"]
    result = run_r(flow("resources(memory = 8000), kubernetes(cpu = 2, labels = list(team = 'one')),"), "run")
    assert "working on 2" in result.stdout
    assert "total 6 in pods" in result.stdout
    job = next(iter(kubernetes.jobs.values()))
    assert job["metadata"]["labels"]["team"] == "one"
    requests = job["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == ("2000m", "8000M")


@pytest.mark.slow
def test_batch_for_all_steps(run_r: RunR, folder: Path, batch: BatchService) -> None:
    batch.set_in_images({"R_LIBS": os.environ["R_LIBS"]})
    result = run_r(flow("", "batch = TRUE"), "run")
    assert "working on 2" in result.stdout
    assert f"total 6 in {batch.jobs.name}" in result.stdout


def test_a_misspelt_argument(run_r: RunR, folder: Path) -> None:
    result = run_r(flow("batch(cpus = 2),"), "run", check=False)
    assert result.returncode != 0
    assert "Did you mean `cpu`?" in result.stderr
