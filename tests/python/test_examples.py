"""The examples, used the way a newcomer would."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunFlow = Callable[..., "subprocess.CompletedProcess[str]"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PENGUINS = EXAMPLES / "penguins.py"
MIXED = EXAMPLES / "penguins_mixed.py"
CHICKS = EXAMPLES / "chicks.R"


def test_penguins_is_run_tagged_read_and_resumed(run_flow: RunFlow) -> None:
    ran = run_flow(PENGUINS, "run", "--tag", "crazy_test")
    assert "344 penguins, 2 of them not measured" in ran.stdout
    assert "Foreach yields 3 child steps." in ran.stdout
    assert "Done!" in ran.stdout

    assert "crazy_test" in run_flow(PENGUINS, "tag", "list", "--run-id", "1").stdout
    run_flow(PENGUINS, "tag", "add", "--run-id", "1", "promising_model")
    assert "promising_model" in run_flow(PENGUINS, "tag", "list", "--run-id", "1").stdout

    assert "344 penguins" in run_flow(PENGUINS, "logs", "1/start").stdout
    assert "summary" in run_flow(PENGUINS, "dump", "1/end").stdout

    resumed = run_flow(PENGUINS, "resume", "join")
    assert "Done!" in resumed.stdout
    read = run_flow(
        """
        from metaflow import Flow

        run = Flow("PenguinsFlow").latest_run
        print(run.id, run.origin_pathspec, [step.id for step in run])
        print(*(f"{row.species}:{row.penguins}:{row.g_per_mm}" for row in run.data.summary.itertuples()))
        print(run.data.summary.equals(Flow("PenguinsFlow")["1"].data.summary))
        """,
        name="read.py",
    )
    # Gram per millimetre, the slope of the least-squares line of each species.
    assert read.stdout.splitlines() == [
        "2 PenguinsFlow/1 ['end', 'join', 'fit', 'start']",
        "Gentoo:123:54.6 Chinstrap:68:34.6 Adelie:151:32.8",
        "True",
    ]


def test_penguins_takes_other_data(run_flow: RunFlow, project: Path) -> None:
    with (EXAMPLES / "data" / "penguins.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0] in ("species", "Gentoo")]
    with (project / "gentoo.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    ran = run_flow(PENGUINS, "run", "--data", "gentoo.csv")
    assert "124 penguins, 1 of them not measured" in ran.stdout
    assert "Foreach yields 1 child steps." in ran.stdout


def test_penguins_mixed_gives_what_penguins_gives_and_both_languages_read_it(
    run_flow: RunFlow, run_r: RunFlow, r_project: Path
) -> None:
    run_flow(PENGUINS, "run")
    ran = run_flow(MIXED, "run")
    assert "Gentoo: 54.6 g more per mm of flipper" in ran.stdout
    assert "Each mm of flipper adds most to a Gentoo: 54.6 g" in ran.stdout
    run_flow(MIXED, "resume", "join")
    in_python = run_flow(
        """
        from metaflow import Flow

        run = Flow("PenguinsMixedFlow").latest_run
        print(run.origin_pathspec, run.data.summary.compare(Flow("PenguinsFlow").latest_run.data.summary).empty)
        print(list(run.data.models), run.data.models["Gentoo"].type)
        """,
        name="read.py",
    )
    assert in_python.stdout.splitlines() == [
        "PenguinsMixedFlow/1 True",
        "['Adelie', 'Chinstrap', 'Gentoo'] lm",
    ]
    in_r = run_r(
        """
        library(metaflow)
        data <- flow_client$new("PenguinsMixedFlow")$latest_run$data
        cat(class(data$summary), data$summary$species, "\\n")
        cat(round(predict(data$models$Gentoo, data.frame(flipper_length_mm = 220))), "\\n")
        """,
        name="read.R",
    )
    assert in_r.stdout.splitlines() == ["data.frame Gentoo Chinstrap Adelie ", "5230 "]


def test_chicks_runs_in_r(run_r: RunFlow, run_flow: RunFlow) -> None:
    ran = run_r(CHICKS, "run")
    assert "diet 3: 11.4 g a day" in ran.stdout
    assert "Foreach yields 4 child steps." in ran.stdout
    read = run_flow(
        """
        from metaflow import Flow

        print(*Flow("ChicksFlow").latest_run.data.growth.g_per_day.round(2))
        """,
        name="read.py",
    )
    assert read.stdout == "6.84 8.61 11.42 9.71\n"


def test_a_loop_trains_until_it_is_good_enough(run_flow: RunFlow) -> None:
    ran = run_flow(EXAMPLES / "switch.py", "run")
    assert re.findall(r"degree (\d): error", ran.stdout) == ["1", "2", "3", "4"]
    assert "best degree: 3, after 4 turns" in ran.stdout
    limited = run_flow(EXAMPLES / "switch.py", "run", "--most", "2")
    assert "no end in sight at degree 2" in limited.stdout
    assert "best degree: 2, after 2 turns" in run_flow(EXAMPLES / "switch.py", "resume", "train").stdout


def test_a_loop_in_r(run_r: RunFlow) -> None:
    ran = run_r(EXAMPLES / "switch.R", "run")
    assert re.findall(r"degree (\d): error", ran.stdout) == ["1", "2", "3", "4"]
    assert "best degree: 3 after 4 turns" in ran.stdout
    assert "best degree: 2 after 2 turns" in run_r(EXAMPLES / "switch.R", "run", "--most", "2").stdout


def test_each_branch_of_a_project_writes_elsewhere(run_flow: RunFlow) -> None:
    for options, branch, table in (
        ([], "user.tester", "forecasts_user_tester"),
        (["--branch", "better_version"], "test.better_version", "forecasts_test_better_version"),
        (["--production"], "prod", "forecasts"),
    ):
        ran = run_flow(EXAMPLES / "project_flow.py", *options, "run")
        assert f"example_project.{branch}.ProjectFlow writes to {table}\n" in ran.stdout


def test_a_project_in_r(run_r: RunFlow) -> None:
    ran = run_r(EXAMPLES / "project_flow.R", "--branch", "better_version", "run")
    assert "project branch: test.better_version" in ran.stdout
    assert "example_project.test.better_version.ProjectFlow writes to forecasts_test_better_version" in ran.stdout


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_passes_its_check_and_describes_itself(
    example: Path, run_flow: RunFlow, request: pytest.FixtureRequest
) -> None:
    if "r_step" in example.read_text():
        request.getfixturevalue("r_project")
    run_flow(example, "check")
    assert re.search(r"\bstart\b", run_flow(example, "show").stdout)
