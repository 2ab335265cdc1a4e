"""The code of runs and tasks, as R has it. An R object is that of the run or the task; here its code is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_r.client import _found, _in_r
from metaflow_r.text import text

if TYPE_CHECKING:
    from collections.abc import Callable


def _exists(object: Any) -> Any:
    from metaflow_r.client_values import to_r

    return to_r(_found(object).code is not None)


def _member(object: Any, name: Any) -> Any:
    from metaflow_r.client_values import to_r

    value = getattr(_found(object).code, text(name))
    if text(name) == "files":  # a name on a disk need not be a text
        value = [file.encode("utf-8", "replace").decode() for file in value]
    return to_r(value)


def _extract(object: Any, folder: Any, overwrite: Any) -> None:
    _found(object).code.extract(text(folder), bool(overwrite[0]))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "code_exists": _exists,
    "code_member": _member,
    "code_extract": _extract,
}

FOR_R = {name: _in_r(function) for name, function in _FUNCTIONS.items()}
