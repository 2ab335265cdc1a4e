"""How two runs, or two tasks, differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from metaflow_core.errors import MetaflowInvalidPathspec
from metaflow_core.results.base import KINDS, MetaflowObject
from metaflow_core.results.code import sources_of
from metaflow_core.results.diff_code import (
    EnvironmentChange,
    GraphChange,
    changed_code,
    changed_environment,
    changed_graph,
)
from metaflow_core.results.diff_values import (
    ForeachChange,
    ValueChange,
    changed_artifacts,
    changed_in_task,
    changed_parameters,
    task_counts,
)

if TYPE_CHECKING:
    from metaflow_core.results.run import Run
    from metaflow_core.results.task import Task

Compared = Union["Run", "Task"]


class TagsChanged(NamedTuple):
    """User tags that only the new run has, and that only the old one has."""

    added: list[str]
    removed: list[str]


@dataclass(repr=False)
class Diff:
    """How ``new`` differs from ``old``: two runs, or two tasks. Printed, it is a text; in a notebook, tables.

    - ``facts``: pairs, old and new: ``status``, ``started``, ``seconds``, ``user``, ``resumes``; of tasks ``attempt``.
    - ``parameters``: by name, what differs, with ``.old``, ``.new`` (artifacts, so ``.old.data`` is the value),
      ``.change`` and ``.difference``. Constants of the flow's class are here, too.
    - ``artifacts``: a list of the same, each with its ``.step``, for steps outside of any foreach.
    - ``foreach``: for those inside, a list with ``.step``, ``.name``, and in how many pairs of tasks it ``.changed`` of
      those ``.compared``; ``.example`` is a pair to look into.
    - ``tasks``: by step, how many tasks the two have, where that differs.
    - ``tags``: user tags ``.added`` and ``.removed``.
    - ``environment``: a list with ``.language``, ``.name``, ``.old`` and ``.new`` version.
    - ``graph``: a list with ``.step``, ``.what``, ``.change``, ``.old`` and ``.new``.
    - ``code``: by file, a unified diff.
    - ``unchanged``: how many artifacts are the same. ``unknown``: what was not recorded for one of the two.
    """

    old: Compared
    new: Compared
    facts: dict[str, tuple[Any, Any]]
    parameters: dict[str, ValueChange] = field(default_factory=dict)
    artifacts: list[ValueChange] = field(default_factory=list)
    foreach: list[ForeachChange] = field(default_factory=list)
    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)
    tags: TagsChanged = field(default_factory=lambda: TagsChanged([], []))
    environment: list[EnvironmentChange] = field(default_factory=list)
    graph: list[GraphChange] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    unknown: list[str] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything differs but when they ran, how long, and whose they are."""
        values = (self.parameters, self.artifacts, self.foreach, self.tasks, *self.tags)
        return any((*values, self.environment, self.graph, self.code)) or len(set(self.facts["status"])) > 1

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data that JSON can express."""
        from metaflow_core.results.diff_data import as_data

        return as_data(self)

    def __str__(self) -> str:
        from metaflow_core.results.diff_text import text

        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from metaflow_core.results.diff_html import as_html

        return as_html(self)


def compare(old: MetaflowObject, new: MetaflowObject, full: bool = False) -> Diff:
    """The difference of two runs, two tasks, or two steps of one task each. ``MetaflowInvalidPathspec`` for others."""
    from metaflow_core.results.run import Run
    from metaflow_core.results.step import Step
    from metaflow_core.results.task import Task
    from metaflow_core.values.difference import LIMIT

    if type(old) is not type(new):
        kinds = [KINDS[one._depth - 1] for one in (old, new)]
        raise MetaflowInvalidPathspec(
            f"Two of a kind can be compared: {old.pathspec} is a {kinds[0]}, {new.pathspec} a {kinds[1]}."
        )
    if isinstance(old, Step) and isinstance(new, Step):
        old, new = _only_task(old), _only_task(new)
    limit = None if full else LIMIT
    if isinstance(old, Run) and isinstance(new, Run):
        return _compare_runs(old, new, limit)
    if isinstance(old, Task) and isinstance(new, Task):
        artifacts, unchanged = changed_in_task(old, new, limit)
        return Diff(old, new, _facts(old, new, attempt="current_attempt"), artifacts=artifacts, unchanged=unchanged)
    raise MetaflowInvalidPathspec(f"Runs, steps and tasks can be compared, but {old.pathspec} is none.")


def _only_task(step: Any) -> Task:
    tasks = list(step)
    if len(tasks) != 1:
        first = tasks[-1].pathspec if tasks else f"{step.pathspec}/ID"
        raise MetaflowInvalidPathspec(
            f"The step {step.pathspec} has {len(tasks)} tasks. Name the one to compare, as in {first}."
        )
    task: Task = tasks[0]
    return task


def _compare_runs(old: Run, new: Run, limit: int | None) -> Diff:
    artifacts, in_foreach, unchanged = changed_artifacts(old, new, limit)
    tasks = task_counts(old, new)
    environments, sources = (old.environment, new.environment), sources_of(old, new)
    tags = old.user_tags, new.user_tags
    facts = _facts(old, new, resumes="origin_pathspec")
    facts["user"] = old._row.owner, new._row.owner
    return Diff(
        old,
        new,
        facts,
        parameters=changed_parameters(old, new, limit),
        artifacts=artifacts,
        foreach=in_foreach,
        tasks={step: (before, after) for step, (before, after) in tasks.items() if before != after},
        tags=TagsChanged(sorted(tags[1] - tags[0]), sorted(tags[0] - tags[1])),
        environment=changed_environment(*environments),
        graph=changed_graph(old._graph(), new._graph()),
        code=changed_code(*sources) if all(sources) else {},
        unchanged=unchanged,
        unknown=[name for name, pair in {"environment": environments, "code": sources}.items() if not all(pair)],
    )


def _facts(old: Compared, new: Compared, **more: str) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {
        "status": (old.status, new.status),
        "started": (old.created_at, new.created_at),
        "seconds": (_seconds(old), _seconds(new)),
    }
    for name, attribute in more.items():
        found[name] = getattr(old, attribute), getattr(new, attribute)
    return found


def _seconds(one: Compared) -> float | None:
    end = one.finished_at
    return None if end is None else round((end - one.created_at).total_seconds(), 3)
