"""Every error that this package raises on purpose."""

from metaflow_core.errors import *  # noqa: F403
from metaflow_core.errors import table
from metaflow_core.wrapped_error import MetaflowExceptionWrapper as MetaflowExceptionWrapper

__all__ = ["MetaflowExceptionWrapper"]
__all__ += [error.__name__ for error in table()]
