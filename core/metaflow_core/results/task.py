"""One task of a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata import task_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.task_queries import StoredAttempt, StoredTask
from metaflow_core.names import is_identifier
from metaflow_core.results import html, messages
from metaflow_core.results.artifact import DataArtifact
from metaflow_core.results.base import Container, Scope, end_of, time_of
from metaflow_core.results.data import MetaflowData
from metaflow_core.results.diffing import Diffing
from metaflow_core.results.task_log import TaskLog
from metaflow_core.wrapped_error import MetaflowExceptionWrapper

if TYPE_CHECKING:
    from metaflow_core.results.code import MetaflowCode
    from metaflow_core.results.step import Step

_FINAL = ("done", "caught")


class Metadata(NamedTuple):
    """A fact about a task that is no artifact."""

    name: str
    value: str
    created_at: datetime
    type: str
    task: Task


class Task(TaskLog, Diffing, Container[DataArtifact]):
    """A task: ``Task("HelloFlow/5/start/1")``. Iteration gives its artifacts.

    It shows the latest attempt, or the one that ``attempt`` (0 for the first) chooses: artifacts, log, status, times.
    """

    _depth = 4
    _child_kind = "artifact"
    _step: Step
    _row: StoredTask
    _attempt: int | None = None

    def __init__(self, pathspec: str, attempt: int | None = None, *, _namespace_check: bool = True) -> None:
        self._attempt = attempt
        super().__init__(pathspec, _namespace_check=_namespace_check)

    @classmethod
    def _of(cls, step: Step, row: StoredTask) -> Task:
        task = cls._bare(step._scope, (*step._parts, row.id))
        task._step, task._row = step, row
        return task

    @classmethod
    def _by_row(cls, scope: Scope, row: StoredTask) -> Task:
        """The task of a row, of whichever step and run."""
        parts = task_queries.full_address(scope.backend.db, row.pk)
        return cls._at(scope, parts, check=False)

    def _find(self, check: bool) -> None:
        from metaflow_core.results.step import Step

        self._step = Step._at(self._scope, self._parts[:3], check)
        row = task_queries.task_by_id(self._db, self._step._run._row.pk, self._parts[2], self.id)
        if row is None:
            raise MetaflowNotFound(messages.no_task(self.pathspec))
        self._row = row
        if self._attempt is not None:
            self._attempt_row()

    def _extra(self) -> dict[str, Any]:
        return {"_attempt": self._attempt}

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self._attempt)

    @property
    def _db(self) -> Database:
        return self._scope.backend.db

    # --- what it is ---

    @property
    def parent(self) -> Step:
        """The step."""
        return self._step

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that people gave to the run."""
        return self._step.user_tags

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that every run gets by itself."""
        return self._step.system_tags

    def _has_tag(self, tag: str) -> bool:
        return self._step._has_tag(tag)

    @property
    def created_at(self) -> datetime:
        """When it was created, in UTC."""
        return time_of(self._row.created_at)

    @property
    def index(self) -> int | None:
        """Its place in the innermost foreach, from 0; None outside a foreach."""
        return self._row.split_index

    @property
    def origin_pathspec(self) -> str | None:
        """The task of another run from which ``resume`` took this one over; None when it ran here.

        None also when that run was removed. Its log then belongs to this task.
        """
        origin = task_queries.task_by_pk(self._db, self._row.pk).origin_task_pk
        return None if origin is None else "/".join(task_queries.full_address(self._db, origin))

    @property
    def runtime_name(self) -> str | None:
        """What ran it: ``dev``, or the name of an orchestrator."""
        return next((tag.partition(":")[2] for tag in self.system_tags if tag.startswith("runtime:")), None)

    @property
    def code(self) -> MetaflowCode | None:
        """The code that it ran: that of its run, or of the run from which ``resume`` took it over."""
        origin = self.origin_pathspec
        if origin is not None:
            return Task._at(self._scope, tuple(origin.split("/")), check=False).code
        return self._step._run.code

    @property
    def parent_tasks(self) -> Iterator[Task]:
        """The tasks that led here, in the order of a join's inputs."""
        return self._related(task_queries.parent_tasks(self._db, self._row.pk))

    @property
    def child_tasks(self) -> Iterator[Task]:
        """The tasks to which this one led."""
        return self._related(task_queries.child_tasks(self._db, self._row.pk))

    def _related(self, rows: Iterator[StoredTask]) -> Iterator[Task]:
        from metaflow_core.results.step import Step

        return (Task._of(Step._of(self._step._run, row.step), row) for row in rows if not row.step.startswith("_"))

    # --- how it went ---

    @property
    def status(self) -> str:
        """``running``, ``done``, ``caught`` (it failed, and ``@catch`` let the flow go on) or ``failed``."""
        return self._now().status if self._attempt is None else self._attempt_row().status

    @property
    def successful(self) -> bool:
        """Whether its code ran to the end."""
        return self.status == "done"

    @property
    def finished(self) -> bool:
        """Whether the flow could go on from it. A task that failed has not finished."""
        return self.status in _FINAL

    @property
    def finished_at(self) -> datetime | None:
        """When the attempt ended, in whatever way, in UTC; None while it runs."""
        return end_of(self._attempt_row().finished_at if self._attempt is not None else self._now().finished_at)

    @property
    def current_attempt(self) -> int:
        """The number of the attempt that this object shows, from 0."""
        return self._now().attempt if self._attempt is None else self._attempt

    @property
    def exception(self) -> MetaflowExceptionWrapper | None:
        """The error with which the attempt ended, with ``.type``, ``.exception`` (its message) and ``.stacktrace``."""
        error = self._attempt_row().error
        if error is None:
            return None
        facts = json.loads(error)
        return MetaflowExceptionWrapper(facts["type"], facts["message"], facts.get("stacktrace") or "")

    def _now(self) -> StoredTask:
        if self._row.status not in _FINAL:
            self._row = task_queries.task_by_pk(self._db, self._row.pk)
        return self._row

    def _attempt_row(self) -> StoredAttempt:
        wanted = self.current_attempt
        rows = task_queries.attempts(self._db, self._row.pk)
        for row in rows:
            if row.attempt == wanted:
                return row
        raise MetaflowNotFound(messages.no_attempt(self.pathspec, wanted, len(rows)))

    def at_attempt(self, attempt: int) -> Task:
        """The same task, showing another attempt; ``MetaflowNotFound`` when there was none of this number."""
        other = Task._of(self._step, self._now())
        other._attempt = attempt
        other._attempt_row()
        return other

    # --- what is known of it ---

    @property
    def metadata(self) -> list[Metadata]:
        """Facts about the task that are no artifacts, the oldest first."""
        return [
            Metadata(fact.field, fact.value, time_of(fact.created_at), fact.type, self)
            for fact in task_queries.facts(self._db, self._row.pk, self.current_attempt)
        ]

    @property
    def metadata_dict(self) -> dict[str, str]:
        """The same as a dict; of two facts with one name the later one counts."""
        return {fact.name: fact.value for fact in self.metadata}

    # --- what is in it ---

    @property
    def data(self) -> MetaflowData:
        """The artifacts as attributes, each loaded when it is used."""
        return MetaflowData(self)

    @property
    def artifacts(self) -> MetaflowArtifacts:
        """The artifacts as objects, as attributes: ``task.artifacts.x.size``."""
        return MetaflowArtifacts(self)

    def __iter__(self) -> Iterator[DataArtifact]:
        for name in self._names():
            artifact = None if name.startswith("_") else self._child(name)
            if artifact is not None:
                yield artifact

    def _names(self) -> list[str]:
        return task_queries.artifact_names(self._db, self._row, self.current_attempt)

    def _child(self, id: str) -> DataArtifact | None:
        if not is_identifier(id):
            return None
        row = task_queries.artifact_content(self._db, self._row, self.current_attempt, id)
        return DataArtifact._of(self, id, row) if row else None

    def __repr__(self) -> str:
        attempt = "" if self._attempt is None else f", attempt={self._attempt}"
        return f"{type(self).__name__}({self.pathspec!r}{attempt})"

    def _repr_html_(self) -> str:
        pairs = [
            ("status", self.status),
            ("attempt", self.current_attempt),
            ("index", self.index),
            ("started", html.moment(self.created_at)),
            ("finished", html.moment(self.finished_at)),
            ("error", self.exception and f"{self.exception.type}: {self.exception.exception}"),
        ]
        artifacts = [(artifact.id, artifact.type, f"{artifact.size:,}") for artifact in self]
        return html.facts(repr(self), pairs) + html.table("", ("artifact", "type", "bytes"), artifacts)


class MetaflowArtifacts:
    """``task.artifacts.x`` is the :class:`DataArtifact` of ``x``; nothing is loaded. Iteration gives all of them."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> DataArtifact:
        if name.startswith("__") or name == "_task":
            raise AttributeError(name)
        artifact = self._task._child(name)
        if artifact is None:
            raise AttributeError(messages.no_artifact(self._task.pathspec, name, self._task.data))
        return artifact

    def __iter__(self) -> Iterator[DataArtifact]:
        return iter(self._task)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._task._names()]

    def __repr__(self) -> str:
        return f"<artifacts: {', '.join(self._task.data)}>"
