"""What is to run at a node: found in the metadata, so that no orchestrator has to pass on more than small numbers.

The id of a task is made of its path, so a node finds its parents, and itself when it is repeated, without a search:
``3-0`` at the path ``3/0``, ``0`` at the top. A switch that leads back to itself runs several times at one path; then
the second task is ``0.1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from metaflow_core.errors import MetaflowException, NotDue
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.splits import find_splits
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.nodes import NodeTask, has_child, tasks_of_step, tasks_with_ids
from metaflow_core.metadata.recording import RunRow

Path = tuple[int, ...]


class Due(NamedTuple):
    """A task that has not been made yet."""

    id: str
    frames: list[list[Any]]
    parents: list[int]


def parse_path(text: str) -> Path:
    """
    >>> parse_path("3/0")
    (3, 0)
    """
    try:
        path = tuple(int(part) for part in text.split("/")) if text else ()
    except ValueError:
        path = (-1,)
    if any(index < 0 for index in path):
        raise MetaflowException(f"The path of a node is made of whole numbers, like 3/0, and {text!r} is not.")
    return path


class Nodes:
    """The nodes of one run of a flow."""

    def __init__(self, flow: FlowDef, db: Database, run: RunRow) -> None:
        self._flow, self._db, self._run = flow, db, run
        splits = find_splits(flow)
        self._closes = {join: split for split, join in splits.closed_by.items()}
        self._around = splits.around

    def depth(self, step: str) -> int:
        """How many indices the path of the step has."""
        return sum(self._opens_path(split) for split, _ in self._around[step])

    def look(self, step: str, path: Path) -> Due | NodeTask:
        """What is to be made at the node; when there is nothing, the task that is there already.

        ``NotDue`` when there is none either.
        """
        if len(path) != self.depth(step):
            raise MetaflowException(
                f"Step {step} is inside {self.depth(step)} foreach loops, so its path has as many numbers, and "
                f"{'/'.join(map(str, path))!r} has {len(path)}."
            )
        here = self._tasks(step, path)
        made = [task.id for task in here]
        new_id = f"{_id(path)}.{len(here)}" if here else _id(path)
        if step in self._closes:
            frames, parents = self._join(step, path)
            if not has_child(self._db, parents[0], step, made or [new_id]):
                return Due(new_id, frames, parents)
        else:
            for frames, parent in self._ways(step, path):
                if not (made and has_child(self._db, parent, step, made)):
                    return Due(new_id, frames, [parent])
        if not here:
            raise NotDue(f"No finished task of run {self._flow.name}/{self._run.id} leads to step {step} there.")
        return here[-1]

    def paths(self, step: str) -> list[Path]:
        """Where the step is due, or has been: all paths at which a finished task leads to it, in order."""
        found: set[Path] = set()
        for parent in self._parents(step):
            for task in tasks_of_step(self._db, self._run.pk, parent):
                if task.leads_to(step):
                    found.update(self._led(step, task))
        return sorted(found)

    def _led(self, step: str, task: NodeTask) -> Iterator[Path]:
        path = _path(task.frames)
        if step in self._closes:
            yield path[:-1] if self._opens_path(self._closes[step]) else path
        elif task.transition and task.transition["kind"] in ("foreach", "parallel"):
            yield from ((*path, index) for index in range(task.transition["num_splits"]))
        else:
            yield path

    def _parents(self, step: str) -> list[str]:
        return self._flow.parents(step)

    def _opens_path(self, step: str) -> bool:
        transition = self._flow[step].transition
        return transition is not None and transition.kind in ("foreach", "parallel")

    def _is_loop(self, step: str) -> bool:
        return step in self._flow[step].targets

    def _tasks(self, step: str, path: Path) -> list[NodeTask]:
        if self._is_loop(step):
            return [task for task in tasks_of_step(self._db, self._run.pk, step) if _path(task.frames) == path]
        return list(tasks_with_ids(self._db, self._run.pk, step, [_id(path)]).values())

    def _ways(self, step: str, path: Path) -> Iterator[tuple[list[list[Any]], int]]:
        """The frames that a task there gets, and its parent; the latest parent first."""
        if self._flow[step].is_start:
            yield [], self._run.parameters_pk
        parents = []
        for name in self._parents(step):
            before = path[:-1] if self._opens_path(name) else path
            parents += [task for task in self._tasks(name, before) if task.leads_to(step)]
        for task in sorted(parents, key=lambda task: task.pk, reverse=True):
            assert task.transition is not None
            kind, frames = task.transition["kind"], task.frames
            if kind in ("foreach", "parallel"):
                count = task.transition["num_splits"]
                if path[-1] >= count:
                    raise NotDue(
                        f"The foreach of step {task.step} has {count} elements, and none of number {path[-1]}."
                    )
                frames = [*frames, [task.id, "foreach", path[-1], count]]
            elif kind == "split":
                targets = task.transition["targets"]
                frames = [*frames, [task.id, "split", targets.index(step), len(targets)]]
            yield frames, task.pk

    def _join(self, step: str, path: Path) -> tuple[list[list[Any]], list[int]]:
        """The frames of a join there, and its inputs in order."""
        name = self._closes[step]
        split = next((task for task in reversed(self._tasks(name, path)) if task.is_done), None)
        if split is None or split.transition is None:
            raise NotDue(f"Step {name} has not ended, so there is nothing to join in step {step}.")
        opens = self._opens_path(name)
        count = split.transition["num_splits"] if opens else len(split.transition["targets"])
        inputs: dict[int, NodeTask] = {}
        for parent in self._parents(step):
            for task in self._inputs(parent, path, count if opens else None):
                if task.leads_to(step) and task.frames[-1][0] == split.id:
                    inputs[task.frames[-1][2]] = max(task, inputs.get(task.frames[-1][2], task))
        if len(inputs) < count:
            raise NotDue(f"Step {step} joins {count} tasks, and {len(inputs)} of them have ended.")
        return split.frames, [inputs[index].pk for index in range(count)]

    def _inputs(self, parent: str, path: Path, count: int | None) -> Sequence[NodeTask]:
        if count is None:
            return self._tasks(parent, path)
        if self._is_loop(parent):
            return tasks_of_step(self._db, self._run.pk, parent)
        ids = [_id((*path, index)) for index in range(count)]
        return list(tasks_with_ids(self._db, self._run.pk, parent, ids).values())


def _id(path: Path) -> str:
    return "-".join(map(str, path)) or "0"


def _path(frames: Sequence[Sequence[Any]]) -> Path:
    return tuple(frame[2] for frame in frames if frame[1] == "foreach")
