"""Steps of R with packages of their own: `r_packages()`, `library_path()`; `pypi()` for the Python steps of R flows.

The repository is a folder that is made like CRAN, by R itself: `tiny` 2.0.1, 1.0.0 in its archive, and `other`, which
needs `tiny`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HOME = os.path.expanduser("~")
MAKE = """
make <- function(name, version, place, needs = NULL) {
  source <- file.path(tempdir(), paste0(name, version), name)
  dir.create(file.path(source, "R"), recursive = TRUE)
  facts <- c(paste("Package:", name), paste("Version:", version), "Title: T", "Description: D.", "License: GPL-3",
    "Author: A", "Maintainer: A <a@example.org>", if (!is.null(needs)) paste("Imports:", needs))
  writeLines(facts, file.path(source, "DESCRIPTION"))
  writeLines(c("export(which_one)", if (!is.null(needs)) "import(tiny)"), file.path(source, "NAMESPACE"))
  writeLines(sprintf('which_one <- function() "%s %s"', name, version), file.path(source, "R", "a.R"))
  old <- setwd(place)
  on.exit(setwd(old))
  system2("R", c("CMD", "build", "--no-manual", shQuote(source)), stdout = FALSE)
}
place <- file.path(commandArgs(TRUE), "src", "contrib")
archive <- file.path(place, "Archive", "tiny")
dir.create(archive, recursive = TRUE)
make("tiny", "1.0.0", archive)
make("tiny", "2.0.1", place)
make("other", "0.5-1", place, "tiny (>= 1.0)")
tools::write_PACKAGES(place, type = "source")
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "make.R").write_text(MAKE)
    subprocess.run(["Rscript", str(folder / "make.R"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the libraries of this module's tests are kept."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(autouse=True)
def settings(r_project: Path, repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_ENVIRONMENTS", str(kept))
    monkeypatch.setenv("REPOSITORY", f"file://{repository}")
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or os.path.join(HOME, ".cache", "uv"))


def one_step(decorator: str, body: str = "self$one <- tiny::which_one()", before: str = "") -> str:
    return f"""
        library(metaflow)
        repository <- Sys.getenv("REPOSITORY")
        {before}
        metaflow("OneFlow") |>
          step(step = "start", next_step = "end", {decorator}, r_function = function(self) {{ {body} }}) |>
          step(step = "end", r_function = function(self) {{
            self$there <- requireNamespace("tiny", quietly = TRUE)
          }}) |>
          run()
        """


def test_r_steps_run_with_packages_of_their_own(run_r: Callable) -> None:
    from metaflow import Flow

    source = """
        library(metaflow)
        metaflow("OwnFlow", r_packages(packages = c(tiny = ">= 2"), repos = Sys.getenv("REPOSITORY"))) |>
          step(step = "start", next_step = "old", foreach = "n", r_packages(disabled = TRUE), r_function = \\(self) {
            self$start_has_it <- requireNamespace("tiny", quietly = TRUE)
            self$n <- 1:2
          }) |>
          step(step = "old", next_step = "both", r_packages(packages = c(tiny = "1.0.0")), r_function = function(self) {
            self$one <- tiny::which_one()
            self$first <- .libPaths()[[1]]
          }) |>
          step(step = "both", join = TRUE, next_step = "end", r_packages(packages = "other"),
            r_function = function(self, inputs) {
              self$ones <- unlist(gather_inputs(inputs, "one"))
              self$both <- c(tiny::which_one(), other::which_one())
              merge_artifacts(self, inputs, include = list("start_has_it", "first"))
            }) |>
          step(step = "end", r_function = function(self) self$one <- tiny::which_one()) |>
          run()
        """
    done = run_r(source, "run")
    assert done.stderr.count("Installing the packages of") == 3
    run = Flow("OwnFlow").latest_run
    assert run.data.start_has_it is False
    assert list(run.data.ones) == ["tiny 1.0.0"] * 2
    assert list(run.data.both) == ["tiny 2.0.1", "other 0.5-1"]
    assert run.data.one == "tiny 2.0.1"
    info = run["old"].environment_info
    assert info["packages"] == {"tiny": "1.0.0"} and info["path"] == run.data.first
    assert info["environment"].startswith("r:") and info["r_version"]
    assert "environment" not in run["start"].environment_info
    shown = run_r(
        """
        library(metaflow)
        info <- step_client$new("OwnFlow/1/both")$environment_info
        cat(info$packages$tiny, info$packages$other)
        """,
        name="client.R",
    )
    assert shown.stdout == "2.0.1 0.5-1"

    again = run_r("flow.R", "run")
    assert "Installing" not in again.stderr
    spun = run_r("flow.R", "spin", "old")
    assert "tiny 1.0.0" in spun.stdout
    spawned = run_r("flow.R", "run", env={"METAFLOW_LAUNCHER": "spawn"})
    assert "Done!" in spawned.stdout and Flow("OwnFlow").latest_run.data.one == "tiny 2.0.1"


def test_a_library_of_ones_own(run_r: Callable, r_project: Path, repository: Path) -> None:
    from metaflow import Flow

    library = r_project / "mit Leerzeichen Ü"
    library.mkdir()
    archive = repository / "src" / "contrib" / "Archive" / "tiny" / "tiny_1.0.0.tar.gz"
    subprocess.run(["R", "CMD", "INSTALL", f"--library={library}", str(archive)], check=True, capture_output=True)
    run_r(one_step('library_path("mit Leerzeichen Ü")'), "run")
    run = Flow("OneFlow").latest_run
    assert (run.data.one, run.data.there) == ("tiny 1.0.0", False)
    info = run["start"].environment_info
    assert info["packages"] == {"tiny": "1.0.0"} and info["path"] == str(library)
    present = one_step('r_packages(packages = c(tiny = "1.0"), library = "mit Leerzeichen Ü")')
    assert "Installing" not in run_r(present, "run").stderr


def test_a_package_that_the_script_has_loaded_in_another_version(
    run_r: Callable, r_project: Path, r_library: Path, repository: Path
) -> None:
    """A fork would have that version, so the task gets a process of its own."""
    from metaflow import Flow

    loaded = r_project / "loaded"
    loaded.mkdir()
    newest = repository / "src" / "contrib" / "tiny_2.0.1.tar.gz"
    subprocess.run(["R", "CMD", "INSTALL", f"--library={loaded}", str(newest)], check=True, capture_output=True)
    source = one_step(
        'r_packages(packages = c(tiny = "1.0.0"), repos = repository)',
        body="self$one <- c(tiny::which_one(), loaded())",
        before='loaded <- getExportedValue("tiny", "which_one")',
    )
    run_r(source, "run", env={"R_LIBS": f"{loaded}:{r_library}"})
    run = Flow("OneFlow").latest_run
    assert list(run.data.one) == ["tiny 1.0.0", "tiny 1.0.0"]
    assert run.data.there is True


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        ('r_packages(packages = c(nosuch = "1.0"), repos = repository)', "has no such package"),
        ('r_packages(packages = c(tiny = "7"), repos = repository)', "has 2.0.1. Archived versions are found when"),
        ('r_packages(packages = c(other = "", tiny = "0.5"), repos = repository)', "tiny 0.5 and >= 1.0 is asked for"),
        ('r_packages(packages = c(tiny = "1.0"))', "it is not installed. There is no repository to install from"),
        (
            'r_packages(packages = c(tiny = "1.0"), repos = "file:///nowhere")',
            "its packages can't be had from file:///nowhere. R says:",
        ),
        ('library_path("absent")', "there is no library"),
        ('r_packages(packages = c(tiny = "new"))', "'new' is no version of tiny"),
        ('r_packages(package = "tiny")', "packages"),
        ("r_packages()", "it asks for nothing"),
        ('r_packages(packages = c(tiny = "1", tiny = "2"))', "`packages` has tiny twice"),
        ('r_packages(packages = "tiny", repos = "cran")', "repos must be addresses"),
        ('pypi(packages = c(six = "1.16.0"))', "Step start is written in R, and @pypi gives packages of Python"),
    ],
)
def test_what_can_not_be_had(run_r: Callable, r_project: Path, tmp_path: Path, decorator: str, message: str) -> None:
    nothing = 'options(repos = c(CRAN = "@CRAN@"))'
    kept = tmp_path / "kept"
    done = run_r(one_step(decorator, before=nothing), "run", env={"METAFLOW_ENVIRONMENTS": str(kept)}, check=False)
    assert done.returncode == 1
    assert "Workflow starting" not in done.stdout
    assert message in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    assert not list(kept.glob("r/*.json"))


def test_an_installation_that_fails_leaves_nothing(run_r: Callable, tmp_path: Path, repository: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(repository / "src", broken / "src")
    (broken / "src" / "contrib" / "other_0.5-1.tar.gz").write_bytes(b"no archive")
    source = one_step('r_packages(packages = c("other"), repos = Sys.getenv("BROKEN"))')
    kept = tmp_path / "kept"
    done = run_r(source, "run", env={"BROKEN": f"file://{broken}", "METAFLOW_ENVIRONMENTS": str(kept)}, check=False)
    assert done.returncode == 1 and "its packages could not be installed. R says:" in done.stderr
    assert [path.suffix for path in (kept / "r").iterdir()] == [".lock"]


def test_r_steps_of_a_python_flow(run_flow: Callable, r_project: Path) -> None:
    from metaflow import Flow

    (r_project / "steps.R").write_text("fit <- function(self) self$one <- tiny::which_one()\n")
    source = """
        import os
        from metaflow import FlowSpec, r_packages, r_step, step

        class PyFlow(FlowSpec):
            @step
            def start(self):
                self.next(self.fit)

            @r_packages(packages={"tiny": "1.0.0"}, repos=os.environ["REPOSITORY"])
            @r_step("steps.R")
            def fit(self):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            PyFlow()
        """
    run_flow(source, "run")
    run = Flow("PyFlow").latest_run
    assert run.data.one == "tiny 1.0.0"
    assert run["fit"].environment_info["packages"] == {"tiny": "1.0.0"}


@pytest.mark.slow
def test_python_steps_of_an_r_flow(run_r: Callable, r_project: Path) -> None:
    pytest.importorskip("uv")
    from metaflow import Flow

    # `six` is imported on top: this program does not need to have it.
    (r_project / "features.py").write_text(
        "import platform\nimport six\n\ndef build(self):\n    self.six = six.__version__\n"
        "    self.rows = len(self.table)\n    self.python = platform.python_version()\n"
    )
    source = """
        library(metaflow)
        metaflow("MixFlow", pypi_base(packages = c(six = "1.16.0"))) |>
          parameter("alpha", type = "float", default = function(context) 0.5) |>
          step(step = "start", next_step = "py", r_function = function(self) self$table <- data.frame(a = 1:3)) |>
          step(step = "py", next_step = "end", retry(times = 1), py_function = "features.py:build") |>
          step(step = "end", r_function = function(self) self$text <- paste(self$six, self$rows, self$alpha)) |>
          run()
        """
    run_r(source, "run")
    run = Flow("MixFlow").latest_run
    assert run.data.text == "1.16.0 3 0.5"
    info = run["py"].environment_info
    assert info["packages"]["six"] == "1.16.0"
    # R makes programs that it starts look for libpython in directories of the system first.
    assert info["python_version"] == run["py"].task.data.python
    assert "environment" not in run["start"].environment_info
    assert "1.16.0" in run_r("flow.R", "spin", "py").stdout


def test_the_example(run_r: Callable) -> None:
    from metaflow import Flow

    run_r(Path(__file__).resolve().parents[2] / "examples" / "packages.R", "run")
    assert set(Flow("PackagesFlow").latest_run["start"].environment_info["packages"]) == {"cli", "rlang"}
