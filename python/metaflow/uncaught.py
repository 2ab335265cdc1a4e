"""What a program shows of an error that nobody has caught: the lines of the user's code, and not ours."""

from __future__ import annotations

import sys
from types import TracebackType


def show(cls: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's `sys.excepthook`, but for errors that this package raises on purpose."""
    from metaflow_core.errors import MetaflowException

    if not isinstance(error, MetaflowException):
        sys.__excepthook__(cls, error, trace)
        return
    from metaflow.runtime import PythonRuntime

    print(PythonRuntime().describe_error(error)[1].rstrip(), file=sys.stderr)
