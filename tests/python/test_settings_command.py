"""`metaflow status --settings`, and the one order in which settings and options are looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow
from metaflow_core.settings import SETTINGS

FLOW = """
    from metaflow import FlowSpec, Parameter, step

    class Options(FlowSpec):
        alpha = Parameter("alpha", default=0.5)
        user = Parameter("user", default="nobody")

        @step
        def start(self):
            self.items = list(range(3))
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Options()
"""


def shown(*options: str, env: dict[str, str] | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    code = "from metaflow_core.cli.metaflow import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "status", *options],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=check,
    )


def rows(env: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    return {row["variable"]: row for row in json.loads(shown("--settings", "--json", env=env).stdout)}


@pytest.fixture
def home(project: Path) -> Path:
    folder = project.parent / "home" / ".metaflowconfig"
    folder.mkdir()
    return folder


def write(folder: Path, **values: Any) -> str:
    (folder / "config.json").write_text(json.dumps({f"METAFLOW_{name}": value for name, value in values.items()}))
    return str(folder / "config.json")


def test_each_setting_its_value_and_its_place(project: Path, home: Path) -> None:
    mine = write(home, HEARTBEAT_SECONDS=3, COLOR="never", RUN_TAG=["a", "b c"])
    ours = write(project / ".metaflow", HEARTBEAT_SECONDS=4)
    found = rows({"METAFLOW_TABLES": "polars", "METAFLOW_LAUNCHER": ""})
    assert [(found[f"METAFLOW_{name}"]["value"], found[f"METAFLOW_{name}"]["origin"]) for name in (
        "HEARTBEAT_SECONDS", "COLOR", "TABLES", "LAUNCHER", "DURABLE_WRITES", "TASK_MEMORY_LIMIT",
    )] == [
        (4.0, ours), ("never", mine), ("polars", "environment"), ("fork", "default"), (False, "default"),
        (None, "default"),
    ]  # fmt: skip
    assert found["METAFLOW_RUN_TAG"]["kind"] == "option"
    assert found["METAFLOW_RUN_TAG"]["origin"] == mine
    table = shown("--settings").stdout.splitlines()
    assert table[0].split() == ["setting", "value", "from"]
    start = table[0].index("value"), table[0].index("from")
    line = next(line for line in table if line.startswith("METAFLOW_HEARTBEAT_SECONDS"))
    assert (line[start[0] : start[1]].strip(), line[start[1] :].strip()) == ("4.0", ours)


def test_secrets_are_not_shown(project: Path) -> None:
    env = {
        "METAFLOW_METADATA_URL": "postgresql://anne:s3same@db/metaflow",
        "METAFLOW_DEFAULT_DATASTORE": "s3://bucket/x?token=s3same",
        "METAFLOW_PRODUCTION_TOKEN": "s3same",
        "METAFLOW_RUN_API_KEY": "s3same",
    }
    for text in (shown("--settings", env=env).stdout, shown("--settings", "--json", env=env).stdout):
        assert "s3same" not in text
        assert "postgresql://anne:***@db/metaflow" in text


def test_what_means_nothing_is_told(project: Path, home: Path) -> None:
    mine = write(home, METADATA="sqlite:///x.db")
    found = rows({"METAFLOW_USR": "anne", "METAFLOW_HEARTBEAT_SECONDS": "soon"})
    assert (found["METAFLOW_USR"]["kind"], found["METAFLOW_USR"]["note"]) == (
        "unknown",
        "No setting of this name. Did you mean METAFLOW_USER?",
    )
    assert found["METAFLOW_METADATA"]["note"] == "Not read from a file: set METAFLOW_METADATA_URL."
    assert found["METAFLOW_METADATA"]["origin"] == mine
    assert "must be a number, at least 0.1, not 'soon'" in found["METAFLOW_HEARTBEAT_SECONDS"]["note"]
    (home / "config.json").write_text("{")
    assert "is not valid JSON" in rows()["METAFLOW_COLOR"]["note"]
    wrong = shown("--json", check=False)
    assert (wrong.returncode, "--json goes with --settings" in wrong.stderr) == (2, True)


def tags_of(run_flow: Any, *options: str, env: dict[str, str] | None = None) -> set[str]:
    run_flow(FLOW, *(options or ("run",)), env=env)
    return set(Flow("Options").latest_run.user_tags)


def test_the_order_of_places_for_an_option(run_flow: Any, project: Path, home: Path) -> None:
    write(home, TAG="home-short", RUN_TAG="home")
    assert tags_of(run_flow) == {"home"}
    write(project / ".metaflow", TAG="project-short")
    assert tags_of(run_flow) == {"project-short"}, "the place counts more than the longer name"
    short = {"METAFLOW_TAG": "short"}
    assert tags_of(run_flow, env=short) == {"short"}
    both = {**short, "METAFLOW_RUN_TAG": "of-run another", "METAFLOW_RESUME_TAG": "of-resume"}
    assert tags_of(run_flow, env=both) == {"of-run", "another"}
    assert tags_of(run_flow, "run", "--tag", "given", env=both) == {"given"}
    assert tags_of(run_flow, "resume", "end", env=both) == {"of-resume"}


def test_lists_flags_and_parameters_in_a_file(run_flow: Any, project: Path) -> None:
    write(project / ".metaflow", RUN_TAG=["one", "two words"], QUIET=True, RUN_ALPHA=0.25, MAX_WORKERS=2)
    assert run_flow(FLOW, "run").stderr == ""
    run = Flow("Options").latest_run
    assert run.user_tags == {"one", "two words"}
    assert (run.data.alpha, run.data.user) == (0.25, "nobody"), "METAFLOW_USER is not the parameter"


@pytest.mark.parametrize(
    ("env", "place"),
    [({"METAFLOW_RUN_MAX_WORKERS": "many"}, "METAFLOW_RUN_MAX_WORKERS in the environment"),
     ({}, "METAFLOW_MAX_WORKERS in {file}")],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_place(run_flow: Any, project: Path, env: dict[str, str], place: str) -> None:
    file = write(project / ".metaflow", MAX_WORKERS=0)
    result = run_flow(FLOW, "run", env=env, check=False)
    assert result.returncode == 2
    assert "Invalid value for '--max-workers'" in result.stderr
    assert f"It is the value of {place.format(file=file)}." in result.stderr


def test_with_of_the_environment_and_of_the_command_line(run_flow: Any) -> None:
    """In a process that is spawned for a task the same decorators are there."""
    env = {"METAFLOW_WITH": 'environment:vars={"COLOUR": "dark red"}', "METAFLOW_LAUNCHER": "spawn"}
    script = FLOW.replace("self.items = list(range(3))", "import os; print(os.environ['COLOUR']); self.items = [1]")
    result = run_flow(script, "run", "--with", "retry:times=1", env=env)
    assert "dark red" in result.stdout
    result = run_flow(script, "run", env={**env, "METAFLOW_RUN_WITH": "retry", "METAFLOW_QUIET": "1"})
    assert "dark red" in result.stdout
    wrong = run_flow(script, "run", env={"METAFLOW_RUN_WITH": "retri"}, check=False)
    assert "there is no step decorator 'retri'. Did you mean @retry?" in wrong.stderr


def test_another_database_by_its_option_is_the_only_one(run_flow: Any, project: Path) -> None:
    url = f"sqlite:///{project / 'other.db'}"
    run_flow(FLOW, "run", env={"METAFLOW_METADATA": url, "METAFLOW_METADATA_URL": "sqlite:////nowhere/x.db"})
    assert (project / "other.db").exists()


def test_options_of_other_commands_have_the_long_name_only(run_flow: Any) -> None:
    run_flow(FLOW, "run", "--tag", "nightly")
    assert "1" in run_flow("flow.py", "runs", env={"METAFLOW_TAG": "weekly"}).stdout
    assert "nightly" not in run_flow("flow.py", "runs", env={"METAFLOW_RUNS_TAG": "weekly"}).stdout


def test_the_page_about_settings_names_each(project: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    missing = [setting.variable for setting in SETTINGS.values() if f"`{setting.variable}`" not in page]
    assert not missing
