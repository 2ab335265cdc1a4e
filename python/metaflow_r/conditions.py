"""Errors across the border: R conditions as Python exceptions, Python exceptions as R conditions."""

from __future__ import annotations

import re
from typing import Any

from metaflow_core.errors import MetaflowException

# Exceptions that went to R, so that one which comes back is the same one. The latest are enough.
_given: dict[int, BaseException] = {}
_KEPT = 64


class RError(Exception):
    """An R condition. ``classes`` are those of the condition, ``calls`` the R calls that led to it, outermost first."""

    def __init__(self, message: str, classes: list[str], call: str = "", calls: list[str] | None = None) -> None:
        super().__init__(message)
        self.classes = classes
        self.call = call
        self.calls = calls or []

    @property
    def type(self) -> str:
        """The most specific class of the condition."""
        return self.classes[0] if self.classes else "simpleError"


def to_r(error: BaseException) -> Any:
    """The R list from which the R side makes a condition."""
    from rpy2.rinterface import IntSexpVector, ListSexpVector, StrSexpVector

    number = id(error)
    _given.pop(number, None)
    _given[number] = error
    while len(_given) > _KEPT:
        _given.pop(next(iter(_given)))
    fields = {
        "message": StrSexpVector([_message(error)]),
        "classes": StrSexpVector(_classes(error)),
        "id": StrSexpVector([str(number)]),
        "exit_code": IntSexpVector([getattr(error, "exit_code", 1)]),
        "artifacts": StrSexpVector([str(name) for name in getattr(error, "artifact_names", [])]),
    }
    out = ListSexpVector(list(fields.values()))
    out.do_slot_assign("names", StrSexpVector(list(fields)))
    out.do_slot_assign("class", StrSexpVector(["metaflow_python_error"]))
    return out


def _message(error: BaseException) -> str:
    """What R users see. The exception's name stands first, so that those who know it can look for it."""
    name = type(error).__name__
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text if name in text else f"{name}: {text}"


def _classes(error: BaseException) -> list[str]:
    found = []
    for cls in type(error).__mro__:
        name = getattr(cls, "condition", None)
        if name is None and cls not in (BaseException, Exception, object):
            name = "metaflow_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if name is not None and name not in found:
            found.append(name)
    if "metaflow_error" not in found:
        found.append("metaflow_error")
    return found


def known_error(number: str) -> BaseException | None:
    """The exception that went to R as a condition, and came back by its number."""
    return _given.get(int(number)) if number else None


def from_outcome(outcome: dict[str, Any]) -> BaseException:
    """The exception for what the R side says of a failure: ``message``, ``classes``, ``call``, ``calls`` and ``id``."""
    known = known_error(outcome.get("id") or "")
    if known is not None:
        known._r_calls = list(outcome["calls"])  # type: ignore[attr-defined]
        return known
    return RError(str(outcome["message"]), list(outcome["classes"]), str(outcome["call"]), list(outcome["calls"]))


def describe(error: BaseException) -> tuple[str, str]:
    """Type and traceback of an error in a step written in R."""
    if isinstance(error, RError):
        name, calls = error.type, error.calls
        first = f"Error in {error.call}: {error}" if error.call else f"Error: {error}"
    else:
        name, calls = type(error).__name__, getattr(error, "_r_calls", [])
        if not isinstance(error, MetaflowException) and type(error).__module__ != "builtins":
            name = f"{type(error).__module__}.{name}"
        first = f"{name}: {error}"
    if calls:
        first += "\nCalls, the outermost first:"
    return name, "\n".join([first, *(f"  {call}" for call in calls)])
