"""Parameters and artifacts that differ between two runs or tasks. Values that are equal are never loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metaflow_core.metadata.compared import fingerprints, foreach_fingerprints, single_tasks
from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK
from metaflow_core.metadata.task_queries import steps

if TYPE_CHECKING:
    from metaflow_core.results.artifact import DataArtifact
    from metaflow_core.results.run import Run
    from metaflow_core.results.task import Task


Pair = tuple[str, str | None, str | None]  # name, old and new fingerprint


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
    """The parameters and configs, and the constants of a flow's class, that differ."""
    tasks = [run[PARAMETERS_STEP][PARAMETERS_TASK] for run in (old, new)]
    graphs = [run._graph() for run in (old, new)]
    known = {p["artifact"] for graph in graphs for kind in ("parameters", "configs") for p in graph.get(kind, [])}
    return {
        name: ValueChange(name, None, before, after, limit, is_constant=name not in known)
        for name, before, after in _changed(tasks[0], tasks[1], {})
        if name != "name"  # the flow's
    }


@dataclass(frozen=True)
class ForeachChange:
    """An artifact of a step inside of a foreach: it differs in ``changed`` of ``compared`` pairs of tasks.

    Tasks are paired by their places in the foreach. ``example`` is the first pair that differs, by their pathspecs.
    """

    step: str
    name: str
    changed: int
    compared: int
    example: tuple[str, str]


def changed_artifacts(old: Run, new: Run, limit: int | None) -> tuple[list[ValueChange], list[ForeachChange], int]:
    """The artifacts that differ in steps that both runs have, outside of any foreach and inside, and how many don't.

    A change that later steps inherit is told once, where it comes up.
    """
    before, after = single_tasks(old._db, old._row.pk), single_tasks(new._db, new._row.pk)
    seen: dict[Pair, bool] = {}
    changes, in_foreach = [], []
    for step in task_counts(old, new):
        if step in before and step in after:
            tasks = old[step][before[step]], new[step][after[step]]
            changes += [ValueChange(name, step, one, other, limit) for name, one, other in _changed(*tasks, seen)]
        else:
            in_foreach += _changed_in_foreach(old, new, step, seen)
    return changes, in_foreach, sum(seen.values())


def task_counts(old: Run, new: Run) -> dict[str, tuple[int, int]]:
    """How many tasks the two have of each step, in the order in which the steps were reached."""
    counts = [{row.name: row.tasks for row in reversed(steps(run._db, run._row.pk))} for run in (old, new)]
    names = dict.fromkeys([*counts[1], *counts[0]])
    return {name: (counts[0].get(name, 0), counts[1].get(name, 0)) for name in names if not name.startswith("_")}


def _changed_in_foreach(old: Run, new: Run, step: str, seen: Mapping[Pair, bool]) -> list[ForeachChange]:
    before, after = (foreach_fingerprints(run._db, run._row.pk, step) for run in (old, new))
    found: dict[str, ForeachChange] = {}
    places = [place for place in after if place in before]
    for place in places:
        (id, one), (other_id, other) = before[place], after[place]
        for name in sorted({**one, **other}):
            pair = name, one.get(name), other.get(name)
            if pair[1] != pair[2] and pair not in seen:
                example = f"{old.pathspec}/{step}/{id}", f"{new.pathspec}/{step}/{other_id}"
                change = found.get(name) or ForeachChange(step, name, 0, len(places), example)
                found[name] = replace(change, changed=change.changed + 1)
    return list(found.values())


def changed_in_task(old: Task, new: Task, limit: int | None) -> tuple[list[ValueChange], int]:
    """The artifacts that differ between two tasks, and how many are the same."""
    seen: dict[Pair, bool] = {}
    changes = [ValueChange(name, None, one, other, limit) for name, one, other in _changed(old, new, seen)]
    return changes, sum(seen.values())


def _changed(
    old: Task, new: Task, seen: dict[Pair, bool]
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
