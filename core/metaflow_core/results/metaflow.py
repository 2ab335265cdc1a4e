"""All flows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metaflow_core.errors import MetaflowNamespaceMismatch, MetaflowNotFound
from metaflow_core.metadata import run_queries
from metaflow_core.names import is_identifier
from metaflow_core.results import html, messages
from metaflow_core.results.base import Scope, current_scope, packed, unpacked
from metaflow_core.results.flow import Flow
from metaflow_core.results.searchable import Searchable


class Metaflow(Searchable):
    """Everything that is known here. Iteration gives the flows that have a run in the namespace, newest first.

    ``search()`` finds runs of every flow.
    """

    def __init__(self, _current_metadata: str | None = None) -> None:
        self._scope: Scope = current_scope()

    @property
    def flows(self) -> list[Flow]:
        """The flows that have a run in the namespace, newest first."""
        return list(self)

    def __iter__(self) -> Iterator[Flow]:
        for row in run_queries.find_flows(self._scope.backend.db, self._scope.namespace):
            yield Flow._of(self._scope, row)

    def __getitem__(self, name: str) -> Flow:
        """The flow; ``KeyError`` when there is none, ``MetaflowNamespaceMismatch`` when it has no run here."""
        if is_identifier(name):
            try:
                return Flow._at(self._scope, (name,), check=True)
            except MetaflowNotFound:
                pass
        raise KeyError(messages.no_child("flow", "Metaflow()", name))

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self[name] is not None
        except (KeyError, MetaflowNamespaceMismatch):
            return False

    def _searched(self) -> tuple[Scope, Flow | None]:
        return self._scope, None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, packed(self._scope)

    def __repr__(self) -> str:
        return "Metaflow()"

    def _repr_html_(self) -> str:
        rows = []
        for flow in self:
            run = flow.latest_run
            rows.append((flow.id, run.id, run.status, html.moment(run.created_at)) if run else (flow.id, "", "", ""))
        return html.table("", ("flow", "latest run", "status", "started"), rows)


def _restore(namespace: str | None, urls: tuple[str, str] | None) -> Metaflow:
    made = Metaflow.__new__(Metaflow)
    made._scope = unpacked(namespace, urls)
    return made
