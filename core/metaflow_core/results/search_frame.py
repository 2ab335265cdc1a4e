"""What a search has found, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metaflow_core.errors import MetaflowException
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.run_values import values_of
from metaflow_core.results.base import Scope
from metaflow_core.results.runs import PAGE, Query, pages

if TYPE_CHECKING:
    import pandas

FACTS = ("flow", "id", "status", "user", "created_at", "finished_at", "duration", "tags")


class FoundRun(NamedTuple):
    """A row. Times are microseconds since 1970 in UTC, ``duration`` is in microseconds."""

    flow: str
    id: str
    status: str
    user: str
    created_at: int
    finished_at: int | None
    duration: int | None
    tags: list[str]
    values: dict[str, bool | int | float | str]


def found_runs(scope: Scope, query: Query, names: list[str] | None, size: int = PAGE) -> Iterator[FoundRun]:
    """The runs with these values (None: with all), read page by page."""
    db = scope.backend.db
    flows: dict[int, str] = {}
    for pks in pages(scope, query, size):
        rows = run_queries.runs_by_pk(db, pks)
        tags, values = run_queries.tags_of(db, pks), values_of(db, pks, names)
        for row in rows:
            if row.flow_pk not in flows:
                flows[row.flow_pk] = run_queries.flow_by_pk(db, row.flow_pk).name
            lasted = None if row.finished_at is None else row.finished_at - row.created_at
            yield FoundRun(
                *(flows[row.flow_pk], row.id, liveness.status(row), row.owner, row.created_at, row.finished_at, lasted),
                *(sorted(tags[row.pk].user), values[row.pk]),
            )


def columns(rows: Sequence[Mapping[str, Any]], names: list[str] | None) -> dict[str, list[Any]]:
    """The values by name, None where a run has none; a name that is a column already gets a ``_value`` at its end."""
    if names is None:
        names = sorted({name for row in rows for name in row})
    return {f"{name}_value" if name in FACTS else name: [row.get(name) for row in rows] for name in names}


def frame(scope: Scope, query: Query, names: list[str] | None) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError:
        raise MetaflowException("to_frame() makes a pandas DataFrame: pip install pandas.") from None
    rows = list(found_runs(scope, query, names))
    table: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in FACTS}
    for name in ("created_at", "finished_at"):
        times = pandas.array(table[name], dtype="Int64")
        table[name] = pandas.to_datetime(pandas.Series(times), unit="us", utc=True).astype("datetime64[us, UTC]")
    lasted = pandas.array(table["duration"], dtype="Int64")
    table["duration"] = pandas.to_timedelta(pandas.Series(lasted), unit="us").astype("timedelta64[us]")
    for name, values in columns([row.values for row in rows], names).items():
        table[name] = pandas.Series(values, dtype=_dtype(values))
    return pandas.DataFrame(table)


def _dtype(values: list[Any]) -> str | None:
    """The type of a column: of numbers where it loses nothing; None leaves texts to pandas."""
    kinds = {type(value) for value in values} - {type(None)}
    complete = None not in values
    if kinds == {bool}:
        return "bool" if complete else "boolean"
    if kinds == {int}:
        return "int64" if complete else "Int64"
    if kinds and kinds <= {int, float}:
        return "float64"
    return None if kinds == {str} else "object"
