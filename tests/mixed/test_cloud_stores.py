"""Flows of both languages in Google Cloud Storage and in Azure, on an emulator of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec.core
import pytest
from cloud_stores import CloudStore

from tests.conftest import RunFlow, RunR

FLOW = """
import numpy
from metaflow import FlowSpec, Parameter, r_step, step

class CloudFlow(FlowSpec):
    fail = Parameter("fail", default=False)

    @step
    def start(self):
        self.items = [1, 2, 3]
        self.large = numpy.arange(2_000_000)
        self.next(self.work, foreach="items")

    @r_step("work.R", "work")
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        if self.fail:
            raise ValueError("as asked")
        self.squares = [int(one.square) for one in inputs]
        self.next(self.end)

    @step
    def end(self):
        print("squares", self.squares)

CloudFlow()
"""
WORK = """
work <- function(self) {
  message("large ", length(self$large))
  self$square <- self$input^2
}
"""
READ = """
library(metaflow)
run <- flow_client$new("CloudFlow")$latest_run
cat(unlist(run$artifact("squares")), length(run$step("start")$tasks[[1]]$artifact("large")), "\\n")
cat(run$step("work")$tasks[[1]]$stderr)
"""


@pytest.fixture
def team(r_project: Path, cloud_store: CloudStore, monkeypatch: pytest.MonkeyPatch) -> CloudStore:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", cloud_store.name)
    monkeypatch.setenv(f"METAFLOW_DATASTORE_SYSROOT_{cloud_store.name.upper()}", cloud_store.new_url())
    (r_project / "work.R").write_text(WORK)
    return cloud_store


def test_a_run_is_resumed_and_read(
    run_flow: RunFlow, run_r: RunR, r_project: Path, team: CloudStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = run_flow(FLOW, "run", "--fail", "True", check=False)
    assert failed.returncode == 1 and "as asked" in failed.stderr + failed.stdout
    flow = r_project / "flow.py"
    flow.write_text(flow.read_text().replace("if self.fail", "if False"))
    resumed = run_flow(flow, "resume")
    assert "squares [1, 4, 9]" in resumed.stdout
    assert len(resumed.stderr.splitlines()) == 3, resumed.stderr  # ours, and none of gcsfs or adlfs
    # Another machine, where nothing has been read yet.
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(r_project / "other"))
    assert run_r(READ, name="read.R").stdout == "1 4 9 2000000 \nlarge 2000000\n"


def test_garbage_is_found_and_taken_out(run_flow: RunFlow, r_project: Path, team: CloudStore) -> None:
    def logs_kept(run: int) -> int:
        fs, root = fsspec.core.url_to_fs(os.environ[f"METAFLOW_DATASTORE_SYSROOT_{team.name.upper()}"])
        fs.invalidate_cache()
        return sum(f"/logs/CloudFlow/{run}/" in path for path in fs.find(root))

    for _ in range(2):
        run_flow(FLOW, "run")
    assert logs_kept(1) > 0
    command = Path(sys.executable).with_name("metaflow")
    collect = [str(command), "gc", "--keep-last", "1", "--older-than", "0h", "--yes"]
    collected = subprocess.run(collect, capture_output=True, text=True, env={**os.environ, "METAFLOW_USER": "tester"})
    assert collected.returncode == 0, collected.stderr
    assert logs_kept(1) == 0 < logs_kept(2)
    assert run_flow(r_project / "flow.py", "logs", "2/end").stdout == "squares [1, 4, 9]\n"
    assert run_flow(r_project / "flow.py", "logs", "1/end", check=False).returncode == 1
