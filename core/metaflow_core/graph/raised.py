"""Why a function of the user failed that was called before anything runs, and where."""

from __future__ import annotations

from metaflow_core.graph.model import Location
from metaflow_core.graph.paths import shown_path

_OURS = ("metaflow", "metaflow_core", "metaflow_plugins", "metaflow_r")


class OtherLanguage(Exception):
    """What a function in another language signalled: its message is all there is to tell."""


def place(error: BaseException) -> Location | None:
    """The line of the user's code that raised, or that called what raised."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _OURS:
            found = Location(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found


def told(error: BaseException) -> str:
    """``raised ValueError in flow.py, line 3: the message``."""
    if isinstance(error, OtherLanguage):
        return f"failed: {error}"
    where = place(error)
    at = "" if where is None else f" in {shown_path(where.file)}, line {where.line}"
    return f"raised {type(error).__name__}{at}: {error}"
