"""Searches for runs from R."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_r.client import _in_r, _scope, scope_texts
from metaflow_r.text import strings, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from metaflow_core.metadata.run_queries import StoredRun
    from metaflow_core.results import Flow

PAGE = 2000
PART = 500  # values that one statement may take
_SINGLE = ("where", "since", "until", "order_by", "after", "namespace")
_COUNTS = ("limit", "page")


def _search(scope: Any, flow: Any, names: Any, arguments: Any) -> Any:
    """The pathspecs of the runs; the scope, what is searched and the names of the values are attributes."""
    from metaflow_core.metadata import run_queries
    from metaflow_core.results import Flow
    from metaflow_core.results.base import current_scope
    from metaflow_core.results.runs import pages
    from metaflow_core.results.search import Asked, RunSearch
    from rpy2.rinterface import StrSexpVector

    from metaflow_r.sexp import set_attribute

    where = _scope(strings(scope)) if len(scope) else current_scope()
    searched = Flow._at(where, (text(flow),), check=False) if text(flow) else None
    given = {name: _argument(name, strings(value)) for name, value in zip(strings(names), arguments, strict=True)}
    search = RunSearch(where, searched, Asked(**given))
    db = where.backend.db
    flows = {} if searched is None else {searched._row.pk: searched.id}
    pathspecs: list[str] = []
    for pks in pages(where, search._query, PAGE):
        for row in run_queries.runs_by_pk(db, pks):
            if row.flow_pk not in flows:
                flows[row.flow_pk] = run_queries.flow_by_pk(db, row.flow_pk).name
            pathspecs.append(f"{flows[row.flow_pk]}/{row.id}")
    found = set_attribute(StrSexpVector(pathspecs), "scope", scope_texts(search._scope))
    set_attribute(found, "about", StrSexpVector([search._about]))
    return set_attribute(found, "values", StrSexpVector(search._names))


def _argument(name: str, values: list[str]) -> Any:
    from metaflow_core.errors import InvalidSearch

    if name in _COUNTS:
        return int(values[0]) if values[0].isdecimal() else _NotWhole(values[0])
    if name not in _SINGLE:
        return values
    if len(values) > 1:
        raise InvalidSearch(f"{name} is one text, not {len(values)}.")
    return values[0] if values else None


class _NotWhole:
    """What is no whole number, as R shows it."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown


def _search_table(scope: Any, pathspecs: Any, wanted: Any, check: Any) -> Any:
    """A data frame of these runs, in this order, without those that are gone."""
    from metaflow_core.metadata import run_queries
    from metaflow_core.metadata.run_values import values_of
    from metaflow_core.results import Flow
    from metaflow_core.results.base import current_scope
    from metaflow_core.results.search import EVERY, Asked, RunSearch
    from metaflow_core.results.search_frame import columns

    where = _scope(strings(scope)) if len(scope) else current_scope()
    db = where.backend.db
    places = [pathspec.split("/") for pathspec in strings(pathspecs)]
    flows = {name: Flow._at(where, (name,), check=False) for name in {name for name, _ in places}}
    names: list[str] | None = strings(wanted)
    if bool(check[0]) and places:
        only = next(iter(flows.values())) if len(flows) == 1 else None
        names = RunSearch(where, only, Asked())._columns(names)
    elif bool(check[0]) and names and EVERY in names:
        names = []
    rows = _read_rows(flows, places)
    found, tags = [], {}
    for start in range(0, len(rows), PART):
        pks = [row.pk for _, row in rows[start : start + PART]]
        tags.update(run_queries.tags_of(db, pks))
        values = values_of(db, pks, names)
        found += [values[pk] for pk in pks]
    return _frame(rows, [sorted(tags[row.pk].user) for _, row in rows], columns(found, names))


def _read_rows(flows: dict[str, Flow], places: list[list[str]]) -> list[tuple[str, StoredRun]]:
    from metaflow_core.metadata import run_queries

    found: dict[tuple[str, str], StoredRun] = {}
    for name, flow in flows.items():
        ids = [id for flow_name, id in places if flow_name == name]
        for start in range(0, len(ids), PART):
            for row in run_queries.runs_by_id(flow._scope.backend.db, flow._row.pk, ids[start : start + PART]):
                found[name, row.id] = row
    return [(name, found[name, id]) for name, id in places if (name, id) in found]


def _frame(rows: list[tuple[str, StoredRun]], tags: list[list[str]], values: dict[str, list[Any]]) -> Any:
    from metaflow_core.metadata import liveness
    from metaflow_core.results.base import end_of, time_of
    from rpy2.rinterface import FloatSexpVector, StrSexpVector

    from metaflow_r.client_values import frame, lists, moments, texts
    from metaflow_r.sexp import classed, rlib, set_attribute

    lasted = [rlib.R_NaReal if row.finished_at is None else (row.finished_at - row.created_at) / 1e6 for _, row in rows]
    duration = set_attribute(classed(FloatSexpVector(lasted), "difftime"), "units", StrSexpVector(["secs"]))
    return frame(
        flow=texts([flow for flow, _ in rows]),
        id=texts([row.id for _, row in rows]),
        status=texts([liveness.status(row) for _, row in rows]),
        user=texts([row.owner for _, row in rows]),
        created_at=moments([time_of(row.created_at) for _, row in rows]),
        finished_at=moments([end_of(row.finished_at) for _, row in rows]),
        duration=duration,
        tags=lists(tags),
        **{name: _column(column) for name, column in values.items()},
    )


def _column(values: list[Any]) -> Any:
    """A vector of the narrowest type that has all values; NA where a run has none."""
    from rpy2.rinterface import BoolSexpVector, FloatSexpVector, NA_Character, StrSexpVector

    from metaflow_r.client_values import numbers
    from metaflow_r.sexp import rlib

    kinds = {type(value) for value in values} - {type(None)}
    if not kinds or kinds == {bool}:
        return BoolSexpVector(values)
    if str in kinds:
        return StrSexpVector([NA_Character if value is None else _as_text(value) for value in values])
    if kinds <= {bool, int}:
        return numbers([None if value is None else int(value) for value in values])
    return FloatSexpVector([rlib.R_NaReal if value is None else float(value) for value in values])


def _as_text(value: bool | int | float | str) -> str:
    return str(value).upper() if isinstance(value, bool) else str(value).replace("\0", "\\0")


def _list_tags(flow: Any, system: Any) -> Any:
    from metaflow_core.results import list_tags

    from metaflow_r.client_values import frame, lists, moments, numbers, texts

    found = list_tags(text(flow) or None, bool(system[0]))
    return frame(
        tag=texts([one.tag for one in found]),
        runs=numbers([one.runs for one in found]),
        since=moments([one.since for one in found]),
        latest=moments([one.latest for one in found]),
        by=lists([one.by for one in found]),
    )


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "client_search": _search,
    "client_search_table": _search_table,
    "list_tags": _list_tags,
}

FOR_R = {name: _in_r(function) for name, function in _FUNCTIONS.items()}
