"""One step of a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata import task_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_queries import NEWEST
from metaflow_core.names import check_tag, is_id
from metaflow_core.results import html, messages
from metaflow_core.results.base import Container, end_of, time_of
from metaflow_core.results.diffing import Diffing
from metaflow_core.results.task import Task

if TYPE_CHECKING:
    from metaflow_core.results.run import Run


class Step(Diffing, Container[Task]):
    """A step of a run: ``Step("HelloFlow/5/start")``. Iteration gives its tasks, newest first."""

    _depth = 3
    _child_kind = "task"
    _run: Run

    @classmethod
    def _of(cls, run: Run, name: str) -> Step:
        step = cls._bare(run._scope, (*run._parts, name))
        step._run = run
        return step

    def _find(self, check: bool) -> None:
        from metaflow_core.results.run import Run

        self._run = Run._at(self._scope, self._parts[:2], check)
        if not task_queries.step_exists(self._db, self._run._row.pk, self.id):
            raise MetaflowNotFound(messages.no_step(self.pathspec, (step.id for step in self._run)))

    @property
    def _db(self) -> Database:
        return self._scope.backend.db

    @property
    def parent(self) -> Run:
        """The run."""
        return self._run

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that people gave to the run."""
        return self._run.user_tags

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that every run gets by itself."""
        return self._run.system_tags

    def _has_tag(self, tag: str) -> bool:
        return self._run._has_tag(tag)

    @property
    def created_at(self) -> datetime:
        """When its first task was created, in UTC."""
        return time_of(task_queries.step_times(self._db, self._run._row.pk, self.id)[0])

    @property
    def finished_at(self) -> datetime | None:
        """When its last task ended, in UTC; None while one runs."""
        return end_of(task_queries.step_times(self._db, self._run._row.pk, self.id)[1])

    @property
    def origin_pathspec(self) -> str | None:
        """The same step of the run from which its tasks were taken over; None when it ran here."""
        task = self.task
        origin = task.origin_pathspec if task else None
        return None if origin is None else origin.rpartition("/")[0]

    @property
    def task(self) -> Task | None:
        """The newest task: the only one, unless the step is in a foreach."""
        return next(iter(self), None)

    def tasks(self, *tags: str) -> Iterator[Task]:
        """The tasks, newest first; none when the run lacks one of ``tags``."""
        wanted = {check_tag(tag) for tag in tags}
        if wanted and not wanted <= self.tags:
            return
        before, size = NEWEST, 16
        while True:
            rows = task_queries.find_tasks(self._db, self._run._row.pk, self.id, before, size)
            for row in rows:
                if not row.id.startswith("_"):
                    yield Task._of(self, row)
            if len(rows) < size:
                return
            before, size = rows[-1].pk, 512

    def __iter__(self) -> Iterator[Task]:
        return self.tasks()

    def _child(self, id: str) -> Task | None:
        row = task_queries.task_by_id(self._db, self._run._row.pk, self.id, id) if is_id(id) else None
        return Task._of(self, row) if row else None

    @property
    def parent_steps(self) -> Iterator[Step]:
        """The steps that led here in this run: with a switch, only those that were taken."""
        return self._steps(task_queries.parent_steps(self._db, self._run._row.pk, self.id))

    @property
    def child_steps(self) -> Iterator[Step]:
        """The steps to which this one led in this run."""
        return self._steps(task_queries.child_steps(self._db, self._run._row.pk, self.id))

    def _steps(self, names: list[str]) -> Iterator[Step]:
        return (Step._of(self._run, name) for name in names if not name.startswith("_"))

    @property
    def environment_info(self) -> dict[str, Any]:
        """Language of the step, and the versions with which it ran.

        Of a step with packages of its own also ``environment`` (``pypi:`` and an id that equal environments share),
        ``packages`` with the version of each, ``interpreter``, and ``path``, where they were on the machine that ran
        it; None when they were installed there already.
        """
        facts = dict(tag.split(":", 1) for tag in self.system_tags if "_version:" in tag)
        node = self._run._graph().get("steps", {}).get(self.id, {})
        found = {"language": node.get("language", "python"), **dict(sorted(facts.items()))}
        recorded = self._run.environment
        id = recorded.get("steps", {}).get(self.id)
        if id is None:
            return found
        own = recorded["environments"][id]
        return {
            **found,
            f"{own['language']}_version": own["version"],
            "environment": f"{own['provider']}:{id}",
            "packages": own["packages"],
            "interpreter": own["interpreter"],
            "path": own["folder"] or next(iter(own["libraries"]), None),
        }

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = []
        more = ""
        for task in self:
            if len(rows) == html.ROWS:
                more = f"The newest {html.ROWS} tasks are shown."
                break
            rows.append((task.id, task.status, html.moment(task.created_at), html.moment(task.finished_at)))
        return html.table(repr(self), ("task", "status", "started", "finished"), rows, more)
