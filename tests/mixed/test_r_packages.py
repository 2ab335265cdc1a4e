"""Code packages of flows in R: the commands, `run(package_code = TRUE)`, and `run$code`."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Any

from metaflow import Run, namespace

FLOW = """
    library(metaflow)
    source("R/helpers.R")
    metaflow("TrainFlow") |>
      step(step = "start", r_function = function(self) self$x <- double(2), next_step = "end") |>
      step(step = "end") |>
      run()
"""
HELPERS = "double <- function(x) 2 * x\n"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def test_the_project_of_a_flow_in_r(r_project: Path, run_r: Any, printed: Any) -> None:
    write(
        r_project,
        **{"R/helpers.R": HELPERS, "lib.py": "", "DESCRIPTION": "", "data.csv": "", ".Rprofile": "", ".env": "A=1"},
        **{"renv/.gitignore": "library/\n", "renv/library/x/R/x.R": "", "renv/activate.R": "", "notes.txt": ""},
    )
    listed = run_r(FLOW, "package", "list", name="train flow.R")
    taken = ["DESCRIPTION", "R/helpers.R", "lib.py", "renv/activate.R", "train flow.R"]
    assert listed.stdout.splitlines() == taken
    run_r("train flow.R", "--package-suffixes", ".csv", "package", "save", "code é.tar.gz")
    with tarfile.open(r_project / "code é.tar.gz") as tar:
        assert tar.getnames() == sorted([*taken, "data.csv"])

    run_r("train flow.R", "run", "--package-code")
    write(r_project, **{"R/helpers.R": "double <- function(x) 3 * x\n"})
    run_r("train flow.R", "run")
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None and code.complete and code.script_name == "train flow.R" and code.files == taken

    found = run_r(
        """
        library(metaflow)
        set_namespace(NULL)
        code <- run_client$new("TrainFlow/1")$code
        print(code)
        stopifnot(
          code$complete, identical(code$script_name, "train flow.R"),
          grepl("metaflow(\\"TrainFlow\\")", code$flowspec, fixed = TRUE),
          identical(code$files, c("DESCRIPTION", "R/helpers.R", "lib.py", "renv/activate.R", "train flow.R")),
          identical(code$info$files, 5L), identical(code$info$working_directory, "."), ".py" %in% code$info$suffixes,
          startsWith(code$path, "data/"),
          identical(run_client$new("TrainFlow/1")$step("start")$a_task$code$files, code$files)
        )
        folder <- code$extract()
        stopifnot(identical(readLines(file.path(folder, "R", "helpers.R")), "double <- function(x) 2 * x"))
        there <- code$extract("there")
        stopifnot(identical(there, "there"), file.exists("there/renv/activate.R"))
        writeLines("mine", "there/lib.py")
        refused <- tryCatch(code$extract("there"), metaflow_error = conditionMessage)
        cat(refused, "\\n")
        code$extract("there", overwrite = TRUE)
        stopifnot(identical(readLines("there/lib.py"), character()))
        cat(tryCatch(code$extract(5), metaflow_invalid_argument = conditionMessage), "\\n")
        cat(tryCatch(code$extrat, metaflow_unknown_member = conditionMessage), "\\n")

        plain <- run_client$new("TrainFlow/2")$code
        print(plain)
        stopifnot(!plain$complete, is.null(plain$path), identical(plain$files, "train flow.R"))
        """,
        name="look.R",
    )
    lines = found.stdout.splitlines()
    assert lines[0] == "<code of TrainFlow/1: train flow.R; 5 files>"
    assert "other versions of 1 of these files: lib.py" in lines[1]
    assert "`folder` is the path of a directory, not 5." in lines[2]
    assert "has no `extrat`. Did you mean `extract`?" in lines[3]
    assert lines[4] == "<code of TrainFlow/2: train flow.R; 1 file, those that were recorded>"


def test_packages_from_a_session(r_project: Path, run_r: Any) -> None:
    """What `run()` asks for, and a flow that is in no file."""
    write(r_project, **{"sub/helpers.R": HELPERS, "sub/table.csv": "a\n1\n"})
    asked = FLOW.replace("R/helpers.R", "helpers.R")
    asked = asked.replace("run()", 'run(package_code = TRUE, package_suffixes = "csv")')
    (r_project / "sub" / ".metaflow-root").touch()
    run_r(asked.replace('source("', 'source("sub/'), "run", name="sub/flow.R")
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None and code.files == ["flow.R", "helpers.R", "table.csv"]
    assert code.info["working_directory"] == "."
    session = """
        library(metaflow)
        set_namespace(NULL)
        flow <- metaflow("SessionFlow") |>
          step(step = "start", r_function = function(self) self$x <- 1, next_step = "end") |>
          step(step = "end")
        tryCatch(run(flow, package = "list"), error = function(e) cat(class(e)[[1]], "\\n"))
        run(flow)
        code <- run_client$new("SessionFlow/1")$code
        print(code)
        cat(code$files, is.null(code$script_name), is.null(code$flowspec), "\\n")
    """
    done = subprocess.run(["Rscript", "-e", session], capture_output=True, text=True, check=True)
    assert "SessionFlow is defined in a session and not in a file" in done.stderr
    assert "metaflow_run_failed" in done.stdout
    last = done.stdout.splitlines()[-2:]
    assert last == [
        "<code of SessionFlow/1: a session; 1 file, those that were recorded>",
        "steps/start.R TRUE TRUE ",
    ]
