"""The namespace of this process: which runs relative references such as ``latest_run`` see."""

from __future__ import annotations

from metaflow_core.errors import MetaflowException
from metaflow_core.identity import identity
from metaflow_core.names import MAX_TAG, show

_IDENTITY = object()  # stands for the identity, which may change while the process runs
_chosen: object = _IDENTITY


def namespace(ns: str | None) -> str | None:
    """Switch to a namespace, which is a tag, and return it. ``None`` is the global one: it has every run.

    >>> namespace("user:will")
    'user:will'

    Objects that exist already keep the namespace in which they were made.
    """
    if ns is not None and not (isinstance(ns, str) and 0 < len(ns) <= MAX_TAG):
        raise MetaflowException(
            f"A namespace is a tag, a non-empty text of at most {MAX_TAG} characters, or None for the global "
            f"namespace. {show(ns)} is neither."
        )
    global _chosen
    _chosen = ns
    return ns


def get_namespace() -> str | None:
    """The namespace of now; ``None`` is the global one."""
    return identity() if _chosen is _IDENTITY else _chosen  # type: ignore[return-value]


def default_namespace() -> str:
    """Go back to the default, the identity (``user:<name>``), and return it."""
    global _chosen
    _chosen = _IDENTITY
    return identity()
