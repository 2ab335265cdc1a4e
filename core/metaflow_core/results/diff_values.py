"""Parameters and artifacts that differ between two runs or tasks. Values that are equal are never loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metaflow_core.metadata.compared import fingerprints, single_tasks
from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK

if TYPE_CHECKING:
    from metaflow_core.results.artifact import DataArtifact
    from metaflow_core.results.run import Run
    from metaflow_core.results.task import Task


@dataclass(frozen=True)
class ValueChange:
    """A parameter or artifact that differs: ``old`` and ``new`` are artifacts, None where there is none.

    ``change`` is ``added``, ``removed`` or ``changed``; ``difference`` says how the two values differ (see
    :mod:`metaflow_core.values.difference`), and is found when it is first asked for.
    """

    name: str
    step: str | None
    old: DataArtifact | None
    new: DataArtifact | None
    limit: int | None = field(repr=False, compare=False)
    is_constant: bool = False

    @property
    def change(self) -> str:
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    @cached_property
    def difference(self) -> dict[str, Any] | None:
        """How the values differ; None for one that was added or removed."""
        if self.old is None or self.new is None:
            return None
        from metaflow_core.values.difference import difference

        return difference(self.old._stored(), self.new._stored(), self.limit)

    def facts(self) -> list[dict[str, Any] | None]:
        """What is known of old and new without looking into them."""
        return [None if one is None else _facts(one) for one in (self.old, self.new)]


def _facts(artifact: DataArtifact) -> dict[str, Any]:
    return {
        "artifact": artifact.pathspec,
        "type": artifact.type,
        "language": artifact.language,
        "size": artifact.size,
    }


def changed_parameters(old: Run, new: Run, limit: int | None) -> dict[str, ValueChange]:
    """The parameters, and the constants of a flow's class, that differ."""
    tasks = [run[PARAMETERS_STEP][PARAMETERS_TASK] for run in (old, new)]
    known = {p["artifact"] for run in (old, new) for p in run._graph().get("parameters", [])}
    return {
        name: ValueChange(name, None, before, after, limit, is_constant=name not in known)
        for name, before, after in _changed(tasks[0], tasks[1], {})
        if name != "name"  # the flow's
    }


def changed_artifacts(old: Run, new: Run, limit: int | None) -> tuple[list[ValueChange], int]:
    """The artifacts that differ in steps that both runs have outside of any foreach, and how many are the same.

    A change that later steps inherit is told once, where it comes up.
    """
    before, after = single_tasks(old._db, old._row.pk), single_tasks(new._db, new._row.pk)
    seen: dict[tuple[str, str | None, str | None], bool] = {}
    changes = []
    for step in after:
        if step in before:
            tasks = old[step][before[step]], new[step][after[step]]
            changes += [ValueChange(name, step, one, other, limit) for name, one, other in _changed(*tasks, seen)]
    return changes, sum(seen.values())


def changed_in_task(old: Task, new: Task, limit: int | None) -> tuple[list[ValueChange], int]:
    """The artifacts that differ between two tasks, and how many are the same."""
    seen: dict[tuple[str, str | None, str | None], bool] = {}
    changes = [ValueChange(name, None, one, other, limit) for name, one, other in _changed(old, new, seen)]
    return changes, sum(seen.values())


def _changed(
    old: Task, new: Task, seen: dict[tuple[str, str | None, str | None], bool]
) -> Iterator[tuple[str, DataArtifact | None, DataArtifact | None]]:
    """What differs between two tasks. ``seen`` has the pairs of fingerprints dealt with, and whether they are equal."""
    before, after = (fingerprints(task._db, task._row.pk, task.current_attempt) for task in (old, new))
    for name in sorted({**before, **after}):
        pair = name, before.get(name), after.get(name)
        if pair in seen:
            continue
        seen[pair] = pair[1] == pair[2]
        if not seen[pair]:
            yield name, old._child(name) if name in before else None, new._child(name) if name in after else None
