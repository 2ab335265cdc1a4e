"""What the Python expressions of the table may name."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

_MODULES = {name: name for name in ("collections", "decimal", "math", "pathlib", "uuid")} | {
    "dt": "datetime",
    "np": "numpy",
    "pd": "pandas",
    "pl": "polars",
    "pa": "pyarrow",
    "sp": "scipy.sparse",
}


def evaluate(expression: str) -> Any:
    """The value of an expression of the table."""
    return eval(expression, dict(_names()))


@cache
def _names() -> dict[str, Any]:
    import table
    from same import Handle

    found = {name: importlib.import_module(module) for name, module in _MODULES.items()}
    zone = importlib.import_module("zoneinfo").ZoneInfo
    return {**vars(table), **found, "ZoneInfo": zone, "Handle": Handle, "with_attrs": with_attrs}


def with_attrs(frame: Any, attrs: dict[str, Any]) -> Any:
    """A data frame with these ``attrs``."""
    frame.attrs = attrs
    return frame
