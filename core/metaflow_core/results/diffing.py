"""Comparing runs, steps and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowInvalidPathspec
from metaflow_core.names import show, split_pathspec
from metaflow_core.results.base import KINDS, MetaflowObject

if TYPE_CHECKING:
    from metaflow_core.results.diff import Diff


class Diffing:
    """The method of runs, steps and tasks that compares them."""

    def diff(self, other: Any, full: bool = False) -> Diff:
        """How ``other`` differs from this: parameters, artifacts, tags, environment, graph and code.

        ``other`` is an object of the same kind, its pathspec, or its id when it has the same parent:
        ``Run("HelloFlow/5").diff(7)``. Artifacts with equal fingerprints are never loaded, and opaque ones, such as
        models, never at all. Values of more than 64 MB are looked into with ``full`` only.
        """
        assert isinstance(self, MetaflowObject)
        if not isinstance(other, MetaflowObject):
            other = _other(self, other)
        from metaflow_core.results.diff import compare

        return compare(self, other, full)


def _other(one: MetaflowObject, other: Any) -> MetaflowObject:
    if isinstance(other, int) and not isinstance(other, bool):
        other = str(other)
    if not isinstance(other, str) or not other:
        kind = KINDS[one._depth - 1]
        raise MetaflowInvalidPathspec(
            f"A {kind} is compared with another {kind}, its pathspec or its id, not {show(other)}."
        )
    pathspec = other if "/" in other else "/".join((*one._parts[:-1], other))
    parts = split_pathspec(pathspec, KINDS[: one._depth])
    return type(one)._at(one._scope, tuple(parts), check=True)
