"""Runs, read page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from metaflow_core.metadata import run_queries
from metaflow_core.metadata.search import NEWEST_FIRST, Order, Place, find
from metaflow_core.metadata.search_terms import Condition
from metaflow_core.results import html
from metaflow_core.results.base import Scope

if TYPE_CHECKING:
    from metaflow_core.results.flow import Flow
    from metaflow_core.results.run import Run

FIRST_PAGE = 16  # most people look at the first few
PAGE = 256


class Query(NamedTuple):
    """Which runs are read, and in which order. ``flow_pk`` is None for runs of all flows."""

    flow_pk: int | None
    conditions: Sequence[Condition]
    order: Order = NEWEST_FIRST
    limit: int | None = None
    skip: int = 0
    after: Place | None = None


class Runs(Iterator["Run"]):
    """An iterator over runs. However many there are, it holds one page of them."""

    def __init__(self, scope: Scope, query: Query, about: str, flow: Flow | None = None) -> None:
        self._scope = scope
        self._query = query
        self._about = about
        self._flows = {} if flow is None else {flow._row.pk: flow}
        self._pages = pages(scope, query)
        self._page: deque[Run] = deque()
        self._given: Run | None = None

    def __iter__(self) -> Runs:
        return self

    def __next__(self) -> Run:
        if self._given is not None:
            self._given._forget()  # what was read with its page is old by now
        if not self._page:
            self._read_page()
        self._given = self._page.popleft() if self._page else None
        if self._given is None:
            raise StopIteration
        return self._given

    def _read_page(self) -> None:
        from metaflow_core.results.run import Run

        db = self._scope.backend.db
        while not self._page and (pks := next(self._pages, None)) is not None:
            rows = run_queries.runs_by_pk(db, pks)
            tags = run_queries.tags_of(db, [row.pk for row in rows])
            self._page.extend(Run._of(self._flow(row.flow_pk), self._scope, row, tags[row.pk]) for row in rows)

    def _flow(self, pk: int) -> Flow:
        from metaflow_core.results.flow import Flow

        if pk not in self._flows:
            self._flows[pk] = Flow._of(self._scope, run_queries.flow_by_pk(self._scope.backend.db, pk))
        return self._flows[pk]

    def __repr__(self) -> str:
        return f"<{self._about}>"

    def _repr_html_(self, title: str | None = None) -> str:
        again = Runs(self._scope, self._query, self._about)
        again._flows = self._flows
        rows: list[tuple[object, ...]] = []
        more = ""
        several = self._query.flow_pk is None
        for run in again:
            if len(rows) == html.ROWS:
                more = f"The newest {html.ROWS} runs are shown." if again._is_newest_first else "There are more."
                break
            times = html.moment(run.created_at), html.moment(run.finished_at)
            rows.append((run.pathspec if several else run.id, run.status, *times, ", ".join(sorted(run.user_tags))))
        header = ("run", "status", "started", "finished", "tags")
        return html.table(repr(self) if title is None else title, header, rows, more)

    @property
    def _is_newest_first(self) -> bool:
        return self._query.order == NEWEST_FIRST


def pages(scope: Scope, query: Query, size: int = FIRST_PAGE) -> Iterator[list[int]]:
    """The ``pk`` of the runs, a page at a time. The first page has ``size``, later ones more if it is small."""
    after, skip, missing = query.after, query.skip, query.limit
    while missing is None or missing > 0:
        wanted = size if missing is None else min(size, missing)
        places = find(scope.backend.db, query.flow_pk, query.conditions, query.order, after, wanted, skip)
        if places:
            yield [place.pk for place in places]
        if len(places) < wanted:
            return
        after, skip = places[-1], 0
        missing = None if missing is None else missing - wanted
        size = max(size, min(size * 4, PAGE))
