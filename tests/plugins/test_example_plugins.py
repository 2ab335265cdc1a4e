"""The plugins in ``examples/`` are distributions of their own: they install, pass their tests, and run flows."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunFlow, RunR

EXAMPLES = ["plugin_storage", "plugin_compute"]

PYTHON_FLOW = """
import os
from metaflow import FlowSpec, nice, step

class BothFlow(FlowSpec):
    @step
    def start(self):
        self.large = bytes(range(256)) * 1000
        self.usual = os.nice(0)
        self.next(self.end)

    @nice(by=7)
    @step
    def end(self):
        print("read", len(self.large), "by", os.nice(0) - self.usual)

BothFlow()
"""
R_FLOW = """
library(metaflow)
metaflow("BothFlow") |>
  step(step = "start", r_function = function(self) {
    self$large <- seq(0.5, 1e5)
    self$usual <- tools::psnice()
  }, next_step = "end") |>
  step(step = "end", decorator("nice", by = 7), r_function = function(self) {
    cat("read", length(self$large), "by", tools::psnice() - self$usual, "\\n")
  }) |>
  run()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both are installed."""
    if importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("hatchling or pip is not installed")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = base / "example-plugins"
    with open(base / "example-plugins.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
            sources = [str(ROOT / "examples" / name) for name in EXAMPLES]
            done = subprocess.run(
                [*command, "--disable-pip-version-check", "--target", str(folder), *sources],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def with_plugins(project: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, where both are installed, and the store's file is the artifact store; gives this file."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    store = project / "store.db"
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", f"onefile://{store}")
    monkeypatch.setenv("METAFLOW_JOB_FOLDER", str(project / "jobs"))
    return store


@pytest.mark.parametrize("example", EXAMPLES)
def test_its_own_tests_pass(project: Path, site: Path, example: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"]
    result = subprocess.run(
        command,
        cwd=ROOT / "examples" / example,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_a_python_flow_with_both(run_flow: RunFlow, with_plugins: Path, project: Path) -> None:
    result = run_flow(PYTHON_FLOW, "run")
    assert "read 256000 by 7" in result.stdout
    assert with_plugins.stat().st_size > 256_000
    assert "read 256000" in run_flow(project / "flow.py", "logs", "1/end").stdout
    assert not (project / ".metaflow" / "data").exists()
    command = [sys.executable, "-c", "from metaflow_core.cli.metaflow import main; main()", "status", "--plugins"]
    listed = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(listed.stdout) if row["distribution"] != "metaflow-tandem"}
    assert {
        name: (row["distribution"], row["version"], row["hooks"], row["problems"]) for name, row in rows.items()
    } == {
        "nice": ("metaflow-nice", "0.1.0", ["open_remote_compute", "step_decorators"], []),
        "onefile": ("metaflow-onefile", "0.1.0", ["open_storage"], []),
    }


def test_an_r_flow_with_both(run_r: RunR, with_plugins: Path) -> None:
    result = run_r(R_FLOW, "run")
    assert "read 100000 by 7" in result.stdout
    assert sum(file.stat().st_size for file in with_plugins.parent.glob("store.db*")) > 100_000


def test_plugins_that_are_not_used_cost_no_import(with_plugins: Path) -> None:
    """What a plugin needs for its work is imported when it has work."""
    code = "import sys; from metaflow_core.plugins import manager; manager(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"metaflow_nice", "metaflow_onefile"} <= set(modules)
    assert not {"metaflow_nice.place", "metaflow_onefile.store", "subprocess", "tempfile"} & set(modules)


def test_plugins_is_a_data_frame_in_r(run_r: RunR, with_plugins: Path, tmp_path: Path) -> None:
    record = tmp_path / "site" / "third_plugin-2.0.dist-info"
    record.mkdir(parents=True)
    (record / "entry_points.txt").write_text("[metaflow_tandem.plugins]\nthird = no_such_module\n")
    script = """
    library(metaflow)
    found <- plugins()
    row <- function(name) found[found$plugin == name, ]
    cat(row("nice")$hooks, row("onefile")$distribution, row("third")$version, row("third")$problem, sep = "|")
    """
    path = f"{os.environ['PYTHONPATH']}{os.pathsep}{record.parent}"
    result = run_r(script, env={"PYTHONPATH": path})
    words = "open_remote_compute, step_decorators|metaflow-onefile|2.0|ModuleNotFoundError: No module named"
    assert words in result.stdout
