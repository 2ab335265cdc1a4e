"""The examples that are directories: the commands of their pages, as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from metaflow import Flow, Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the directory of the parameter, with the data beside it: the working directory."""
    shutil.copytree(EXAMPLES / "data", project / "data")
    folder = project / request.param
    shutil.copytree(EXAMPLES / request.param, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    yield folder


def blocks(page: Path) -> list[list[str]]:
    """The lines of each block of shell commands."""
    return [block.splitlines() for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)]


def shell(command: str) -> str:
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("example", ["continuous_training"], indirect=True)
def test_a_tag_of_the_gate_deploys_a_model(example: Path) -> None:
    (watch,), train, (predict,) = blocks(example / "README.md")
    served = example / "serving" / "model.json"

    def deployed(run: str) -> None:
        end = time.monotonic() + 60
        while not served.exists() or json.loads(served.read_text())["run"] != run:
            assert time.monotonic() < end, f"{run} was not deployed"
            time.sleep(0.02)

    watcher = subprocess.Popen(shlex.split(watch), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        shell(train[0])
        assert shell(train[1]).startswith("TrainFlow/1 goes to production")
        deployed("TrainFlow/1")
    finally:
        watcher.terminate()
        watcher.wait(60)
    verdicts = [shell(command).partition(":")[0] for command in train[2:]][1::2]
    assert verdicts == ["TrainFlow/2 goes to production", "TrainFlow/3 is rejected"]
    assert json.loads(served.read_text())["run"] == "TrainFlow/1", "nobody watches"
    shell(watch.replace("watch ", "watch --once "))
    deployed("TrainFlow/2")
    assert "says TrainFlow/2" in shell(predict)
    assert Flow("PredictFlow").latest_run.data.model_run == "TrainFlow/2"

    shell("python train.py tag add production --run-id 1")
    shell(watch.replace("watch ", "watch --once "))
    deployed("TrainFlow/1")
    assert [(change.action, change.tag) for change in Run("TrainFlow/1").tag_history] == [
        ("added", "production"),
        ("removed", "production"),
        ("added", "retired"),
        ("added", "production"),
    ]


@pytest.mark.parametrize("example", ["ci"], indirect=True)
def test_the_workflow_for_ci_runs_the_flow_and_tags_the_run(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = yaml.safe_load((example / "github-actions.yml").read_text())
    job = workflow["jobs"]["flow"]
    monkeypatch.setenv("METAFLOW_USER", job["env"]["METAFLOW_USER"])
    monkeypatch.setenv("PR", "12")
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands.pop(0).startswith("pip install metaflow-tandem")
    for command in commands:
        assert "${{" not in command, "what a pull request says must not be read by the shell"
        shell(command)
    (run,) = Flow("CheckedFlow").runs("gh_test_ok")
    assert {"gh_test_ok", "pr:12"} <= run.user_tags
    assert "user:github-actions" in run.system_tags
    assert run.successful
