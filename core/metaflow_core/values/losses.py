"""Tells of what a value loses on its way: a warning at the user's line, or at none, and never at one of ours."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Code that stands between the user's line and here.
_OURS = frozenset({"metaflow", "metaflow_core", "metaflow_r", "metaflow_plugins", "rpy2", "pluggy", "contextlib"})
# When these call, no line of the user's has asked for the value: the line would be the one that started the flow.
_NOBODY = ("metaflow_core.engine.task", "metaflow_core.cli")

_subjects: list[str] = []
heard: dict[str, None] | None = None  # takes the texts, once each, while another language waits to show them


class ArtifactWarning(UserWarning):
    """An artifact can't be quite the same in this language, or can't be used when it is read again."""


@contextmanager
def about(subject: str) -> Iterator[None]:
    """What is told inside is about ``subject``, such as ``the artifact 'model'``."""
    _subjects.append(subject)
    try:
        yield
    finally:
        _subjects.pop()


def tell(text: str) -> None:
    """Warn with ``text``, which says what of the value is lost; it starts in lower case."""
    subject = _subjects[-1] if _subjects else "artifact"
    message = f"{subject[:1].upper()}{subject[1:]}: {text}"
    if heard is not None:
        heard[message] = None
        return
    frame = _user_frame()
    if frame is None:
        _show_without_line()
        warnings.warn_explicit(message, ArtifactWarning, "", 0)
        return
    module: dict[str, Any] = frame.f_globals
    registry = module.setdefault("__warningregistry__", {})
    place = frame.f_code.co_filename
    warnings.warn_explicit(message, ArtifactWarning, place, frame.f_lineno, module.get("__name__"), registry)


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(_NOBODY):
            return None
        if name.partition(".")[0] not in _OURS:
            return frame
        frame = frame.f_back
    return None


def _show_without_line() -> None:
    """Have a warning that has no line printed without one."""
    plain = warnings.formatwarning
    if getattr(plain, "_without_line", False):
        return

    def formatted(message: Any, category: Any, filename: str, lineno: int, line: str | None = None) -> str:
        return plain(message, category, filename, lineno, line) if filename else f"Warning: {message}\n"

    formatted._without_line = True  # type: ignore[attr-defined]
    warnings.formatwarning = formatted
