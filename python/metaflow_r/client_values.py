"""What the client tells, as R values. Artifacts go another way: see the modules ``read``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from metaflow_core.results.base import MetaflowObject
from metaflow_core.wrapped_error import MetaflowExceptionWrapper
from rpy2.rinterface import NULL, BoolSexpVector, FloatSexpVector, IntSexpVector, ListSexpVector, StrSexpVector

from metaflow_r.sexp import NA_INTEGER, classed, named_list, rlib, set_attribute

_INT32 = range(-(2**31) + 1, 2**31)


def to_r(value: Any) -> Any:
    """A fact as R has it: an object as its pathspec, tags in the order of the alphabet, a moment in UTC."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BoolSexpVector([value])
    if isinstance(value, int):
        return IntSexpVector([value]) if value in _INT32 else FloatSexpVector([value])
    if isinstance(value, str):
        return StrSexpVector([_text(value)])
    if isinstance(value, datetime):
        return moments([value])
    if isinstance(value, MetaflowObject):
        return StrSexpVector([value.pathspec])
    if isinstance(value, frozenset):
        return StrSexpVector(sorted(value))
    if isinstance(value, dict):
        return named_list({name: to_r(part) for name, part in value.items()})
    if isinstance(value, MetaflowExceptionWrapper):
        parts = {"type": value.type, "exception": value.exception, "stacktrace": value.stacktrace}
        return to_r({name: str(part) for name, part in parts.items()})
    return StrSexpVector([item.pathspec if isinstance(item, MetaflowObject) else _text(item) for item in value])


def _text(value: str) -> str:
    return value.replace("\0", "\\0")  # R has no text with NUL characters


def moments(times: Sequence[datetime | None]) -> Any:
    """A POSIXct in UTC, NA for None."""
    seconds = FloatSexpVector([rlib.R_NaReal if time is None else time.timestamp() for time in times])
    return set_attribute(classed(seconds, "POSIXct", "POSIXt"), "tzone", StrSexpVector(["UTC"]))


def texts(values: Sequence[str]) -> Any:
    """A character vector."""
    return StrSexpVector([_text(value) for value in values])


def numbers(values: Sequence[int | None]) -> Any:
    """An integer vector, NA for None; doubles when a number needs more than 32 bits."""
    if all(value is None or value in _INT32 for value in values):
        return IntSexpVector([NA_INTEGER if value is None else value for value in values])
    return FloatSexpVector([rlib.R_NaReal if value is None else value for value in values])


def lists(values: Sequence[Sequence[str]]) -> Any:
    """A list of character vectors."""
    return ListSexpVector([texts(value) for value in values])


def frame(**columns: Any) -> Any:
    """A data frame of these R vectors."""
    found = named_list(columns)
    set_attribute(found, "row.names", IntSexpVector([NA_INTEGER, -len(next(iter(columns.values())))]))
    return classed(found, "data.frame")
