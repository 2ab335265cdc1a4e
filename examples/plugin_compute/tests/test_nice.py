"""The place keeps the contract of remote compute plugins, and runs steps with a lower priority."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from metaflow_core.testing.remote_compute import RemoteComputeContract
from metaflow_nice import open_remote_compute
from metaflow_nice.place import NicePlace

FLOW = """
import os, sys
from metaflow import FlowSpec, catch, nice, step, timeout

class NiceFlow(FlowSpec):
    @step
    def start(self):
        self.usual = os.nice(0)
        self.items = [1, 2]
        self.next(self.work, foreach="items")

    {above}
    @step
    def work(self):
        print("working on", self.input)
        print("and complaining", file=sys.stderr)
        {body}
        self.more = os.nice(0) - self.usual
        self.next(self.join)

    @step
    def join(self, inputs):
        print("more:", [getattr(one, "more", None) for one in inputs])
        self.next(self.end)

    @step
    def end(self):
        pass

NiceFlow()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in list(os.environ):
        if variable.startswith("METAFLOW_"):
            monkeypatch.delenv(variable)
    (tmp_path / ".metaflow").mkdir()
    monkeypatch.setenv("METAFLOW_USER", "tester")
    monkeypatch.setenv("METAFLOW_JOB_FOLDER", str(tmp_path / "jobs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestNice(RemoteComputeContract):
    @pytest.fixture
    def decorator(self, project: Path) -> str:
        return "nice"


def run(project: Path, above: str, body: str = "pass", *arguments: str) -> subprocess.CompletedProcess[str]:
    (project / "flow.py").write_text(FLOW.format(above=above, body=body))
    command = [sys.executable, "flow.py", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_priority_of_a_step_and_its_output(project: Path) -> None:
    result = run(project, "@nice(by=7)")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "more: [7, 7]" in result.stdout
    assert "working on 1" in result.stdout
    assert "and complaining" in result.stdout


def test_what_takes_too_long_ends_with_all_that_it_started(project: Path) -> None:
    body = "sys.stdout.flush(); os.system('echo $$ > ' + str(self.input) + '.pid; exec sleep 600')"
    body = body.replace("str(self.input)", f"{str(project)!r} + '/' + str(self.input)")
    result = run(project, "@catch(var='late')\n    @timeout(seconds=2)\n    @nice", body)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "more: [None, None]" in result.stdout
    end = time.monotonic() + 60
    while any(runs(file.read_text().strip()) for file in project.glob("*.pid")):
        assert time.monotonic() < end, "what the task has started goes on"
        time.sleep(0.1)


def runs(pid: str) -> bool:
    """Whether the process runs: a zombie, which its parent has not asked for yet, does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_number_that_is_none(project: Path) -> None:
    result = run(project, "@nice(by=20)")
    assert result.returncode == 1
    assert "by must be a whole number from 0 to 19, not 20" in result.stderr


def test_it_is_asked_for_its_own_name_only() -> None:
    assert isinstance(open_remote_compute("nice"), NicePlace)
    assert open_remote_compute("dask") is None
