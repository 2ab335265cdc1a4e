"""Lists of the client as tables, read with a few queries however long they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from metaflow_core.metadata import liveness, run_queries, task_queries
from metaflow_core.metadata.run_queries import NEWEST, StoredRun, Tags
from metaflow_core.metadata.task_queries import StoredStep, StoredTask
from metaflow_core.names import check_tag
from metaflow_core.results import DataArtifact, Flow, Run, Step, Task
from metaflow_core.results.base import end_of, time_of

from metaflow_r.client_values import frame, lists, moments, numbers, texts

PAGE = 5000
PART = 500  # values that one statement may take


def ids_of_runs(flow: Flow, tags: list[str]) -> list[str]:
    """The ids of the runs in the flow's namespace that have all ``tags``, newest first."""
    namespace = flow._scope.namespace
    wanted = [*([] if namespace is None else [namespace]), *(check_tag(tag) for tag in tags)]
    found: list[str] = []
    before = NEWEST
    while True:
        page = run_queries.find_runs(flow._scope.backend.db, flow._row.pk, wanted, None, before, PAGE)
        found += [run.id for run in page]
        if len(page) < PAGE:
            return found
        before = page[-1].pk


def table(parent: Any, ids: list[str]) -> Any:
    """A data frame with a row for each of these children of ``parent``, in this order, without those that are gone."""
    if isinstance(parent, Flow):
        return _runs(parent.id, *_read_runs(parent, ids))
    if isinstance(parent, Run):
        return _steps(
            parent.pathspec, _chosen(ids, {row.name: row for row in task_queries.steps(parent._db, parent._row.pk)})
        )
    if isinstance(parent, Step):
        return _tasks(parent.pathspec, _chosen(ids, {row.id: row for row in _all_tasks(parent)}))
    assert isinstance(parent, Task)
    return _artifacts(parent.pathspec, [found for found in map(parent._child, ids) if found is not None])


def empty_table(kind: str) -> Any:
    """The same without rows."""
    if kind == "run_client":
        return _runs("", [], {})
    if kind == "step_client":
        return _steps("", [])
    return _tasks("", []) if kind == "task_client" else _artifacts("", [])


Row = TypeVar("Row")


def _chosen(ids: list[str], rows: dict[str, Row]) -> list[Row]:
    return [rows[id] for id in ids if id in rows]


def _read_runs(flow: Flow, ids: list[str]) -> tuple[list[StoredRun], dict[int, Tags]]:
    db = flow._scope.backend.db
    rows: list[StoredRun] = []
    tags: dict[int, Tags] = {}
    for start in range(0, len(ids), PART):
        part = ids[start : start + PART]
        found = {run.id: run for run in run_queries.runs_by_id(db, flow._row.pk, part)}
        rows += _chosen(part, found)
        tags.update(run_queries.tags_of(db, [run.pk for run in found.values()]))
    return rows, tags


def _runs(flow: str, rows: list[StoredRun], tags: dict[int, Tags]) -> Any:
    return frame(
        flow=texts([flow] * len(rows)),
        id=texts([run.id for run in rows]),
        status=texts([liveness.status(run) for run in rows]),
        created_at=moments([time_of(run.created_at) for run in rows]),
        finished_at=moments([end_of(run.finished_at) for run in rows]),
        user=texts([run.owner for run in rows]),
        tags=lists([sorted(tags[run.pk].user) for run in rows]),
    )


def _steps(run: str, rows: list[StoredStep]) -> Any:
    return frame(
        run=texts([run] * len(rows)),
        id=texts([step.name for step in rows]),
        tasks=numbers([step.tasks for step in rows]),
        created_at=moments([time_of(step.created_at) for step in rows]),
        finished_at=moments([end_of(step.finished_at) for step in rows]),
    )


def _tasks(step: str, rows: list[StoredTask]) -> Any:
    return frame(
        step=texts([step] * len(rows)),
        id=texts([task.id for task in rows]),
        status=texts([task.status for task in rows]),
        index=numbers([task.split_index for task in rows]),
        attempt=numbers([task.attempt for task in rows]),
        created_at=moments([time_of(task.created_at) for task in rows]),
        finished_at=moments([end_of(task.finished_at) for task in rows]),
    )


def _artifacts(task: str, rows: list[DataArtifact]) -> Any:
    return frame(
        task=texts([task] * len(rows)),
        id=texts([artifact.id for artifact in rows]),
        type=texts([artifact.type for artifact in rows]),
        language=texts([artifact.language for artifact in rows]),
        size=numbers([artifact.size for artifact in rows]),
    )


def _all_tasks(step: Step) -> Iterator[StoredTask]:
    before = NEWEST
    while page := task_queries.find_tasks(step._db, step._run._row.pk, step.id, before, PAGE):
        yield from page
        before = page[-1].pk
