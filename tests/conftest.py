"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import pytest

USER = "tester"


class RunFlow(Protocol):
    """Runs ``python flow.py ...`` as a user would, in a process of its own."""

    def __call__(
        self,
        script: str | Path,
        *args: str | Path,
        user: str | None = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.py",
    ) -> subprocess.CompletedProcess[str]:
        """``script`` is a path, or source text (anything with a line break), which is written to ``name`` first.

        ``user`` is who runs it (``METAFLOW_USER``; None leaves it unset) and ``env`` is added to the environment.
        Gives ``returncode``, ``stdout`` and ``stderr``. With ``check`` a non-zero exit fails the test and shows both.
        """


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project directory, the working directory of the test, used by ``USER`` with an empty home."""
    folder = tmp_path / "project"
    home = tmp_path / "home"
    home.mkdir()
    # An own .metaflow, because the search for one goes upward and could find a stray one above the temporary files.
    (folder / ".metaflow").mkdir(parents=True)
    for variable in list(os.environ):
        if variable.startswith("METAFLOW_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("METAFLOW_USER", USER)
    monkeypatch.setenv("METAFLOW_HOME", str(home / ".metaflowconfig"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_flow(project: Path) -> RunFlow:
    """See :class:`RunFlow`. The process runs in ``project`` unless the test changed the working directory."""

    def run(
        script: str | Path,
        *args: str | Path,
        user: str | None = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.py",
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str) and "\n" in script:
            (project / name).write_text(dedent(script), encoding="utf-8")
            script = project / name
        environment = dict(os.environ)
        environment.pop("METAFLOW_USER", None)
        if user is not None:
            environment["METAFLOW_USER"] = user
        environment.update(env or {})
        result = subprocess.run(
            [sys.executable, str(script), *map(str, args)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check and result.returncode != 0:
            pytest.fail(
                f"{script} {' '.join(map(str, args))} ended with {result.returncode}\n"
                f"--- stdout ---\n{result.stdout}\n--- stderr ---\n{result.stderr}"
            )
        return result

    return run
