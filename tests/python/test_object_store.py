"""A team's flows keep their artifacts and logs in an object store, and nothing in the project's folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cloud_stores import CloudStore

from tests.conftest import RunFlow

FLOW = """
import numpy
from metaflow import FlowSpec, Parameter, step

class StoreFlow(FlowSpec):
    fail = Parameter("fail", default=False)

    @step
    def start(self):
        self.items = list(range(5))
        self.large = numpy.arange(2_000_000)
        self.next(self.work, foreach="items")

    @step
    def work(self):
        print("working on", self.input)
        self.block = numpy.full(10_000, self.input)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = int(sum(i.block.sum() for i in inputs))
        if self.fail:
            raise ValueError("as asked")
        self.next(self.end)

    @step
    def end(self):
        print("total", self.total)

StoreFlow()
"""
READ = """
from metaflow import Flow
run = Flow("StoreFlow").latest_run
print(run.data.total, run["start"].task.data.large.sum(), [t.data.block[0] for t in run["work"]][::-1])
print(run["work"].task.stdout, end="")
"""


def read(project: Path, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_run_in_a_bucket(run_flow: RunFlow, project: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", "s3")
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_S3", s3)
    run_flow(FLOW, "run")
    assert {file.name for file in project.rglob("*") if file.is_file()} <= {
        "flow.py",
        "metaflow.db",
        "metaflow.db-wal",
        "metaflow.db-shm",
    }
    expected = "100000 1999999000000 [0, 1, 2, 3, 4]\nworking on 4\n"
    assert read(project).replace("np.int64(", "").replace(")", "") == expected
    # Another machine, where nothing has been read yet.
    assert read(project, {"METAFLOW_STORE_CACHE": str(project / "other")}).startswith("100000 1999999000000")


def test_resume_in_a_bucket(run_flow: RunFlow, project: Path, s3: str) -> None:
    place = ("--datastore", "s3", "--datastore-root", s3)
    result = run_flow(FLOW, *place, "run", "--fail", "True", check=False)
    assert result.returncode == 1
    flow = project / "flow.py"
    flow.write_text(flow.read_text().replace("if self.fail", "if False"))
    run_flow(flow, *place, "resume")
    assert "total 100000" in run_flow(flow, *place, "logs", "2/end").stdout


def test_where_the_store_is(run_flow: RunFlow, project: Path, s3: str) -> None:
    run_flow(FLOW, "--datastore-root", s3, "run")
    result = run_flow(project / "flow.py", "--datastore", "s3", "run", check=False)
    assert result.returncode == 1
    assert "Set METAFLOW_DATASTORE_SYSROOT_S3 to an address such as s3://bucket/prefix" in result.stderr
    result = run_flow(project / "flow.py", "--datastore", "local", "--datastore-root", s3, "run", check=False)
    assert result.returncode == 1
    assert "does not go with --datastore local" in result.stderr


def test_a_store_that_does_not_answer(run_flow: RunFlow, project: Path, s3: str) -> None:
    result = run_flow(
        FLOW,
        "--datastore-root",
        s3,
        "run",
        env={"METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
        check=False,
    )
    assert result.returncode == 1
    assert f"Can't read the artifact store {s3}" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("google_store", "there is no bucket nobucket."),
        ("azure_store", "ResourceNotFoundError: The specified container does not exist."),
    ],
)
def test_a_bucket_that_is_not_there(run_flow: RunFlow, request: pytest.FixtureRequest, store: str, said: str) -> None:
    cloud: CloudStore = request.getfixturevalue(store)
    url = f"{cloud.scheme}://nobucket/x"
    environment = cloud.environment(cloud.port)
    result = run_flow(FLOW, "--datastore-root", url, "run", env=environment, check=False)
    assert result.returncode == 1
    assert f"Artifact store:\n    Can't write the artifact store {url}: {said}\n" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_a_wrong_key_of_azure(run_flow: RunFlow, azure_store: CloudStore) -> None:
    key = "U0VDUkVUS0VZc2VjcmV0a2V5"
    place = azure_store.environment(azure_store.port)["AZURE_STORAGE_CONNECTION_STRING"]
    wrong = re.sub("AccountKey=[^;]*", f"AccountKey={key}", place)
    url = azure_store.new_url()
    environment = {"AZURE_STORAGE_CONNECTION_STRING": wrong}
    result = run_flow(FLOW, "--datastore-root", url, "run", env=environment, check=False)
    assert result.returncode == 1
    assert f"Can't read the artifact store {url}: HttpResponseError: " in result.stderr
    assert "Server failed to authenticate the request." in result.stderr
    assert key not in result.stderr + result.stdout
