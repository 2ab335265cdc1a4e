"""A flow and its runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from metaflow_core import identity
from metaflow_core.errors import MetaflowNamespaceMismatch, MetaflowNotFound
from metaflow_core.metadata import run_queries
from metaflow_core.metadata.run_queries import StoredFlow
from metaflow_core.metadata.search_terms import Tag
from metaflow_core.names import check_tag, is_id
from metaflow_core.results import messages
from metaflow_core.results.base import Container, Scope, time_of
from metaflow_core.results.run import Run
from metaflow_core.results.runs import Query, Runs
from metaflow_core.results.searchable import Searchable


class Flow(Searchable, Container[Run]):
    """A flow: ``Flow("HelloFlow")``.

    Iteration, ``latest_run`` and ``search()`` see the runs in the namespace alone. A flow that has no run there can't
    be made: ``MetaflowNamespaceMismatch``. A task can open its own flow and run in every namespace.
    """

    _depth = 1
    _child_kind = "run"
    _row: StoredFlow

    @classmethod
    def _of(cls, scope: Scope, row: StoredFlow) -> Flow:
        flow = cls._bare(scope, (row.name,))
        flow._row = row
        return flow

    def _find(self, check: bool) -> None:
        row = run_queries.flow_by_name(self._scope.backend.db, self.id)
        if row is None:
            raise MetaflowNotFound(messages.no_flow(self.id, run_queries.flow_names(self._scope.backend.db)))
        self._row = row
        namespace = self._scope.namespace
        check = check and self.id != identity.own_run.partition("/")[0]
        if check and namespace is not None and not self._has_tag(namespace):
            raise MetaflowNamespaceMismatch(messages.flow_outside(self.id, namespace))

    def _has_tag(self, tag: str) -> bool:
        return run_queries.flow_has_tag(self._scope.backend.db, self._row.pk, tag)

    @property
    def parent(self) -> None:
        """A flow is in nothing."""
        return None

    @property
    def created_at(self) -> datetime:
        """When its first run started, in UTC."""
        return time_of(self._row.created_at)

    @property
    def finished_at(self) -> datetime | None:
        """When its latest run ended; None while it runs."""
        run = self.latest_run
        return run.finished_at if run else None

    @property
    def latest_run(self) -> Run | None:
        """The run in the namespace that started last, however it went."""
        return self._latest(None)

    @property
    def latest_successful_run(self) -> Run | None:
        """The run in the namespace that started last among those that succeeded."""
        return self._latest("completed")

    def runs(self, *tags: str) -> Runs:
        """The runs in the namespace that have all of ``tags``, newest first, read as they are needed."""
        namespace = self._scope.namespace
        wanted = [*([] if namespace is None else [namespace]), *(check_tag(tag) for tag in tags)]
        query = Query(self._row.pk, [Tag(tag) for tag in dict.fromkeys(wanted)])
        return Runs(self._scope, query, f"runs of {self.id}: {', '.join(wanted) or 'all'}", self)

    def _searched(self) -> tuple[Scope, Flow | None]:
        return self._scope, self

    def __iter__(self) -> Iterator[Run]:
        return self.runs()

    def _child(self, id: str) -> Run | None:
        row = run_queries.run_by_id(self._scope.backend.db, self._row.pk, id) if is_id(id) else None
        if row is None:
            return None
        run = Run._of(self, self._scope, row)
        run._check_namespace()
        return run

    def _latest(self, status: str | None) -> Run | None:
        namespace = self._scope.namespace
        tags = () if namespace is None else (namespace,)
        found = run_queries.find_runs(self._scope.backend.db, self._row.pk, tags, status, limit=1)
        return Run._of(self, self._scope, found[0]) if found else None

    def _repr_html_(self) -> str:
        return self.runs()._repr_html_(f"{self!r}")
