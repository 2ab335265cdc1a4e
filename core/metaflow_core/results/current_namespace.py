"""The namespace of this process: which runs relative references such as ``latest_run`` see."""

from __future__ import annotations

from metaflow_core.identity import identity
from metaflow_core.names import check_namespace

_IDENTITY = object()  # stands for the identity, which may change while the process runs
_chosen: object = _IDENTITY


def namespace(ns: str | None) -> str | None:
    """Switch to a namespace, which is a tag, and return it. ``None`` is the global one: it has every run.

    >>> namespace("user:will")
    'user:will'

    Objects that exist already keep the namespace in which they were made.
    """
    global _chosen
    checked = check_namespace(ns)
    _chosen = checked
    return checked


def get_namespace() -> str | None:
    """The namespace of now; ``None`` is the global one."""
    return identity() if _chosen is _IDENTITY else _chosen  # type: ignore[return-value]


def default_namespace() -> str:
    """Go back to the default, the identity (``user:<name>``), and return it."""
    global _chosen
    _chosen = _IDENTITY
    return identity()
