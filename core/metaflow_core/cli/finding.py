"""What a check of ``metaflow doctor`` gives."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the report; ``fix`` says what to do about a warning or a problem."""

    level: Literal["ok", "warning", "problem"]
    text: str
    fix: str = ""
