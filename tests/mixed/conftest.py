"""What tests of R need: R with the packages it is tested with, and the R package of this checkout in a library of its own."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
USER = "tester"


class RunR(Protocol):
    """Runs ``Rscript flow.R ...`` as a user would, in a process of its own."""

    def __call__(
        self,
        script: str | Path,
        *args: str | Path,
        user: str = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.R",
    ) -> subprocess.CompletedProcess[str]:
        """``script`` is a path, or source text, which is written to ``name`` first. With ``check`` failure fails the test."""


@pytest.fixture(scope="session")
def r_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the R package of this checkout. Without R or rpy2 the test is skipped: `make setup` installs them."""
    rscript = shutil.which("Rscript")
    if rscript is None or importlib.util.find_spec("rpy2") is None:
        pytest.skip("R or rpy2 is not installed; `make setup` installs them")
    probe = "quit(status = !all(c('cli', 'magrittr', 'rlang') %in% rownames(installed.packages())))"
    if subprocess.run([rscript, "-e", probe], check=False, capture_output=True).returncode:
        pytest.skip("R packages that metaflow needs are not installed; `make setup` installs them")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    library = base / "r-library"
    with open(base / "r-library.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (library / "metaflow" / "python.txt").exists():
            source = base / "r-source"
            source.mkdir(exist_ok=True)
            for part in ("DESCRIPTION", "NAMESPACE"):
                shutil.copy(ROOT / part, source)
            shutil.copytree(ROOT / "R", source / "R", dirs_exist_ok=True)
            library.mkdir(exist_ok=True)
            command = ["R", "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (library / "metaflow" / "python.txt").write_text(sys.executable + "\n")
    return library


@pytest.fixture
def r_project(project: Path, r_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project directory in which R finds the package, and the package finds this Python."""
    monkeypatch.setenv("R_LIBS", str(r_library))
    for variable in ("RETICULATE_PYTHON", "METAFLOW_PYTHON", "R_SESSION_INITIALIZED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("R_USER_CACHE_DIR", str(r_library.parent / "r-cache"))
    return project


@pytest.fixture
def run_r(r_project: Path) -> RunR:
    """See :class:`RunR`."""

    def run(
        script: str | Path,
        *args: str | Path,
        user: str = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.R",
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str) and "\n" in script:
            (r_project / name).write_text(dedent(script), encoding="utf-8")
            script = r_project / name
        environment = {**os.environ, "METAFLOW_USER": user, **(env or {})}
        result = subprocess.run(
            ["Rscript", str(script), *map(str, args)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check and result.returncode != 0:
            pytest.fail(
                f"Rscript {script} {' '.join(map(str, args))} ended with {result.returncode}\n"
                f"--- stdout ---\n{result.stdout}\n--- stderr ---\n{result.stderr}"
            )
        return result

    return run


@pytest.fixture
def printed() -> Callable[[subprocess.CompletedProcess[str]], list[str]]:
    """What the tasks of a run have printed: the text after the stamp and the task's name."""

    def lines(result: subprocess.CompletedProcess[str]) -> list[str]:
        return [line.partition(")] ")[2] for line in result.stdout.splitlines() if "(pid " in line]

    return lines
