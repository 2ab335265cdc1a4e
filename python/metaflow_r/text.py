"""Small R vectors as Python text and back."""

from __future__ import annotations

from typing import Any


def is_sexp(value: Any) -> bool:
    """Whether ``value`` is an R value."""
    return hasattr(value, "__sexp__")


def text(vector: Any) -> str:
    """The first element of a character vector; empty when there is none."""
    found = strings(vector)
    return found[0] if found else ""


def strings(vector: Any) -> list[str]:
    """The elements of a character vector, or none for NULL."""
    from rpy2.rinterface import NULL

    return [] if vector is NULL or len(vector) == 0 else [str(item) for item in vector]
