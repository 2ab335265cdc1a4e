"""One run of a flow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from metaflow_core import identity
from metaflow_core.errors import MetaflowNamespaceMismatch, MetaflowNotFound
from metaflow_core.metadata import liveness, run_queries, task_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_queries import StoredRun, Tags
from metaflow_core.names import check_tag, is_identifier
from metaflow_core.results import html, messages
from metaflow_core.results.base import Container, Scope, end_of, time_of
from metaflow_core.results.diffing import Diffing
from metaflow_core.results.lineage import Lineage
from metaflow_core.results.step import Step
from metaflow_core.results.tagging import Tagging
from metaflow_core.results.what_ran import WhatRan

if TYPE_CHECKING:
    from metaflow_core.results.code import MetaflowCode
    from metaflow_core.results.data import MetaflowData
    from metaflow_core.results.flow import Flow
    from metaflow_core.results.task import Task
    from metaflow_core.results.trigger import Trigger

FRESH_SECONDS = 1.0


class Run(Tagging, Lineage, WhatRan, Diffing, Container[Step]):
    """A run: ``Run("HelloFlow/5")``. Iteration gives its steps, newest first."""

    _depth = 2
    _child_kind = "step"
    _flow: Flow
    _row: StoredRun
    _read_along: tuple[Tags, float, int] | None = None  # tags that came with a page of runs, when, after which change
    _changes: ClassVar[int] = 0  # of tags by this process

    @classmethod
    def _of(cls, flow: Flow, scope: Scope, row: StoredRun, tags: Tags | None = None) -> Run:
        run = cls._bare(scope, (flow.id, row.id))
        run._flow, run._row = flow, row
        if tags is not None:
            run._read_along = (tags, time.monotonic() + FRESH_SECONDS, Run._changes)
        return run

    def _find(self, check: bool) -> None:
        from metaflow_core.results.flow import Flow

        self._flow = Flow._at(self._scope, self._parts[:1], check=False)
        row = run_queries.run_by_id(self._db, self._flow._row.pk, self.id)
        if row is None:
            raise MetaflowNotFound(messages.no_run(self.pathspec, run_queries.latest_id(self._db, self._flow._row.pk)))
        self._row = row
        if check:
            self._check_namespace()

    def _check_namespace(self) -> None:
        namespace = self._scope.namespace
        if namespace is not None and self.pathspec != identity.own_run and not self._has_tag(namespace):
            raise MetaflowNamespaceMismatch(messages.run_outside(self.pathspec, namespace, self._home()))

    def _home(self) -> str:
        """The namespace of the identity that made the run."""
        found = sorted(tag for tag in self.system_tags if tag.startswith(("user:", "production:")))
        return found[0] if found else f"user:{self._row.owner}"

    def _has_tag(self, tag: str) -> bool:
        return run_queries.run_has_tag(self._db, self._row.pk, tag)

    @property
    def _db(self) -> Database:
        return self._scope.backend.db

    # --- what it is ---

    @property
    def parent(self) -> Flow:
        """The flow."""
        return self._flow

    @property
    def created_at(self) -> datetime:
        """When it started, in UTC."""
        return time_of(self._row.created_at)

    @property
    def origin_pathspec(self) -> str | None:
        """The run that this one resumes; None for a run of its own."""
        origin = self._row.origin_run_id
        return None if origin is None else f"{self._parts[0]}/{origin}"

    @property
    def code(self) -> MetaflowCode | None:
        """The code as it was when the run started: the whole project, or the flow's file and those of its steps."""
        from metaflow_core.results.code import code_of

        return code_of(self)

    @property
    def trigger(self) -> Trigger | None:
        """The events that started the run; None when a person or a schedule did."""
        from metaflow_core.results.trigger import trigger_of_run

        return trigger_of_run(self._db, self._row.pk)

    # --- how it goes ---

    @property
    def status(self) -> str:
        """``running``, ``completed``, ``failed``, ``interrupted``, or ``lost`` when its driver was killed."""
        return liveness.status(self._now())

    @property
    def successful(self) -> bool:
        """Whether it has reached its end."""
        return self._now().status == "completed"

    @property
    def finished(self) -> bool:
        """Whether it has reached its end. A run that failed or was interrupted has not: see ``status``."""
        return self.successful

    @property
    def finished_at(self) -> datetime | None:
        """When it ended, in whatever way, in UTC; None while it runs, and when its driver was killed."""
        return end_of(self._now().finished_at)

    def _now(self) -> StoredRun:
        """The run's row as it is now. A run that has ended does not change."""
        if self._row.status == "running" and self._fresh_tags() is None:
            self._row = run_queries.run_by_pk(self._db, self._row.pk)
        return self._row

    # --- tags ---

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that people gave to it."""
        return self._tags().user

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that every run gets by itself: who, when, and with which versions."""
        return self._tags().system

    @property
    def tags(self) -> frozenset[str]:
        """All tags, as they are now."""
        tags = self._tags()
        return tags.user | tags.system

    def _tags(self) -> Tags:
        return self._fresh_tags() or run_queries.tags_of(self._db, [self._row.pk])[self._row.pk]

    def _fresh_tags(self) -> Tags | None:
        """What was read with a page of runs, so that a loop over many runs need not ask for each; soon forgotten."""
        if self._read_along is None:
            return None
        tags, until, changes = self._read_along
        return tags if time.monotonic() < until and changes == Run._changes else None

    def _forget(self) -> None:
        self._read_along = None

    def _tagged(self) -> tuple[Database, int]:
        return self._db, self._row.pk

    def _change(self, *args: Any, **kwargs: Any) -> None:
        Run._changes += 1
        super()._change(*args, **kwargs)

    # --- what is in it ---

    def steps(self, *tags: str) -> Iterator[Step]:
        """The steps that have tasks, newest first; none when the run lacks one of ``tags``."""
        wanted = {check_tag(tag) for tag in tags}
        if wanted and not wanted <= self.tags:
            return
        for row in task_queries.steps(self._db, self._row.pk):
            if not row.name.startswith("_"):
                yield Step._of(self, row.name)

    def __iter__(self) -> Iterator[Step]:
        return self.steps()

    def _child(self, id: str) -> Step | None:
        found = is_identifier(id) and task_queries.step_exists(self._db, self._row.pk, id)
        return Step._of(self, id) if found else None

    @property
    def end_task(self) -> Task | None:
        """The task of the last step; None while it has not finished."""
        nodes = self._graph().get("steps", {})
        name = next((name for name, node in nodes.items() if node.get("type") == "end"), "end")
        step = self._child(name)
        task = step.task if step else None
        return task if task is not None and task.finished else None

    @property
    def data(self) -> MetaflowData | None:
        """The artifacts of the last step; None while it has not finished."""
        task = self.end_task
        return task.data if task else None

    def _graph(self) -> dict[str, Any]:
        graph: dict[str, Any] = json.loads(task_queries.graph_text(self._db, self._row.graph_pk))
        return graph

    def _repr_html_(self) -> str:
        pairs = [
            ("status", self.status),
            ("started", html.moment(self.created_at)),
            ("finished", html.moment(self.finished_at)),
            ("tags", ", ".join(sorted(self.user_tags))),
            ("system tags", ", ".join(sorted(self.system_tags))),
        ]
        if self.origin_pathspec:
            pairs.append(("resumes", self.origin_pathspec))
        steps = [
            (row.name, row.tasks, html.moment(time_of(row.created_at)), html.moment(end_of(row.finished_at)))
            for row in task_queries.steps(self._db, self._row.pk)
            if not row.name.startswith("_")
        ]
        return html.facts(repr(self), pairs) + html.table("", ("step", "tasks", "started", "finished"), steps)
