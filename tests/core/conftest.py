"""Runs that exist in the metadata without having been executed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from metaflow_core import results
from metaflow_core.metadata import recording
from metaflow_core.metadata.recording import NewRun, Result
from metaflow_core.results import provider
from metaflow_core.values import encode

GRAPH = {
    "name": "F",
    "language": "python",
    "steps": {"start": {"type": "start", "next": ["end"]}, "end": {"type": "end", "next": [], "language": "r"}},
}


class History:
    """Writes runs as the engine does."""

    def __init__(self) -> None:
        self.backend = provider.backend()
        self.db = self.backend.db
        self.storage = self.backend.storage

    def run(
        self,
        flow: str = "F",
        *,
        user: str = "tester",
        tags: Sequence[str] = (),
        status: str = "completed",
        parameters: Mapping[str, Any] | None = None,
        start: Mapping[str, Any] | None = None,
        end: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> recording.RunRow:
        """A run of two steps with these artifacts. One that is no success has no task ``end``."""
        run = self.begin(flow, user=user, tags=tags, parameters=parameters, **more)
        first = self.task(run, "start", "1", [run.parameters_pk], start)
        if status == "completed":
            self.task(run, "end", "2", [first], end)
        if status != "running":
            recording.finish_run(self.db, run.pk, status)
        return run

    def begin(
        self,
        flow: str = "F",
        *,
        user: str = "tester",
        tags: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> recording.RunRow:
        """A run that has just started."""
        system = [f"user:{user}", "runtime:dev", "python_version:3.11.7", "date:2026-01-31"]
        artifacts = {name: encode(value) for name, value in {"name": flow, **(parameters or {})}.items()}
        new = NewRun(flow, user, f"user:{user}", system, tags, json.dumps(GRAPH), "graph", artifacts=artifacts, **more)
        return recording.create_run(self.db, self.storage, new)

    def task(
        self,
        run: recording.RunRow,
        step: str,
        id: str,
        parents: Sequence[int] = (),
        artifacts: Mapping[str, Any] | None = None,
        *,
        status: str | None = "done",
        index: int | None = None,
        error: dict[str, Any] | None = None,
    ) -> int:
        """A task with its first attempt; with a status, the attempt has ended."""
        frames = [] if index is None else [["1", "foreach", index, 3]]
        task = recording.create_task(self.db, run.pk, step, id, frames, index, parents)
        if status is not None:
            self.end_attempt(task, 0, status, artifacts, error)
        return task

    def end_attempt(
        self,
        task: int,
        attempt: int,
        status: str,
        artifacts: Mapping[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        values = {name: encode(value) for name, value in (artifacts or {}).items()}
        result = Result(status, error=error)
        recording.commit_attempt(self.db, self.storage, task, attempt, result, values, facts=facts)


@pytest.fixture
def history(project: Path) -> Iterator[History]:
    """A project without runs, and the means to write some."""
    results.default_metadata()
    results.default_namespace()
    history = History()
    yield history
    results.default_metadata()
    results.default_namespace()
    history.backend.close()
