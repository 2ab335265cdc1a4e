"""Runs of a flow, newest first, read page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from metaflow_core.metadata import run_queries
from metaflow_core.metadata.run_queries import NEWEST
from metaflow_core.results import html
from metaflow_core.results.base import Scope

if TYPE_CHECKING:
    from metaflow_core.results.flow import Flow
    from metaflow_core.results.run import Run

FIRST_PAGE = 16  # most people look at the first few
PAGE = 256


class Runs(Iterator["Run"]):
    """An iterator over runs. However many there are, it holds one page of them."""

    def __init__(self, flow: Flow, scope: Scope, flow_pk: int, tags: list[str]) -> None:
        self._flow = flow
        self._scope = scope
        self._flow_pk = flow_pk
        self._tags = tags if scope.namespace is None else [scope.namespace, *tags]
        self._page: deque[Run] = deque()
        self._size = FIRST_PAGE
        self._before = NEWEST
        self._ended = False
        self._given: Run | None = None

    def __iter__(self) -> Runs:
        return self

    def __next__(self) -> Run:
        if self._given is not None:
            self._given._forget()  # what was read with its page is old by now
        if not self._page and not self._ended:
            self._read_page()
        self._given = self._page.popleft() if self._page else None
        if self._given is None:
            raise StopIteration
        return self._given

    def _read_page(self) -> None:
        from metaflow_core.results.run import Run

        db = self._scope.backend.db
        rows = run_queries.find_runs(db, self._flow_pk, self._tags, None, self._before, self._size)
        tags = run_queries.tags_of(db, [row.pk for row in rows])
        self._page.extend(Run._of(self._flow, self._scope, row, tags[row.pk]) for row in rows)
        self._ended = len(rows) < self._size
        if rows:
            self._before = rows[-1].pk
        self._size = min(self._size * 4, PAGE)

    def __repr__(self) -> str:
        return f"<runs of {self._flow.id}: {', '.join(self._tags) or 'all'}>"

    def _repr_html_(self, title: str | None = None) -> str:
        again = Runs(self._flow, self._scope, self._flow_pk, [])
        again._tags = self._tags
        rows: list[tuple[object, ...]] = []
        more = ""
        for run in again:
            if len(rows) == html.ROWS:
                more = f"The newest {html.ROWS} runs are shown."
                break
            times = html.moment(run.created_at), html.moment(run.finished_at)
            rows.append((run.id, run.status, *times, ", ".join(sorted(run.user_tags))))
        header = ("run", "status", "started", "finished", "tags")
        return html.table(repr(self) if title is None else title, header, rows, more)
