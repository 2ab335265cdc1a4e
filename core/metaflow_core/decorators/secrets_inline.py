"""Secrets that are written in the flow, for tests and for trying something out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaflow_core.errors import InvalidDecoratorAttribute


class InlineProvider:
    """``{"type": "inline", "options": {"values": {"DB_PASSWORD": "..."}}}``."""

    def check(self, id: str, options: Mapping[str, Any]) -> None:
        values = options.get("values")
        if set(options) != {"values"} or not isinstance(values, Mapping) or not values:
            raise InvalidDecoratorAttribute(
                "a source of the type inline needs the option values, a dict of variables, and takes no other."
            )

    def fetch(self, id: str, options: Mapping[str, Any], role: str | None) -> Mapping[str, str]:
        return {key: _text(value) for key, value in options["values"].items()}


def _text(value: Any) -> str:
    """A number as its text; those of R are floats."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
