"""The fixture ``toy``: the project, in which flows can be deployed to the orchestrator of ``plan_walker``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import plan_walker
import pytest
from metaflow_core import plugins


@pytest.fixture
def toy(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the orchestrator keeps its plans. It is there for this process too."""
    from metaflow_core.cli import arguments

    path = plan_walker.install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path / "toy"))
    loaded = plugins._loaded()
    loaded.plugins["toy"] = plugins.Plugin("toy", "plan_walker")
    loaded.manager.register(plan_walker, name="toy")
    caches = (arguments.commands, arguments.options_of)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path / "toy"
    loaded.manager.unregister(name="toy")
    del loaded.plugins["toy"]
    for cached in caches:
        cached.cache_clear()
