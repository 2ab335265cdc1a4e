"""The fixture ``toy``: the project, in which flows can be deployed to the orchestrator of ``plan_walker``."""

from __future__ import annotations

import os
from pathlib import Path

import plan_walker
import pytest


@pytest.fixture
def toy(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the orchestrator keeps its plans."""
    path = plan_walker.install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path / "toy"))
    return tmp_path / "toy"
