"""Changing the tags of a run, and what was changed before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from metaflow_core.errors import MetaflowTaggingError
from metaflow_core.identity import identity
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.tags import change_tags, tag_events
from metaflow_core.names import show
from metaflow_core.results.base import time_of


class TagChange(NamedTuple):
    """One change: ``action`` is ``added`` or ``removed``, ``identity`` who did it, ``at`` when, in UTC."""

    tag: str
    action: str
    identity: str
    at: datetime


class Tagging:
    """The methods of a run that change its tags.

    Every change takes effect at once, for its steps, tasks and artifacts too, or, with ``MetaflowTaggingError``, not at
    all. Adding a tag that is there and removing one that is not does nothing; system tags can't be removed.
    """

    def _tagged(self) -> tuple[Database, int]:
        """The database, and the ``pk`` of the run."""
        raise NotImplementedError

    def add_tag(self, tag: str) -> None:
        """Add one tag."""
        self._change(add=[tag])

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add several tags."""
        self._change(add=tags)

    def remove_tag(self, tag: str) -> None:
        """Remove one tag."""
        self._change(remove=[tag])

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove several tags."""
        self._change(remove=tags)

    def replace_tag(self, tag_to_remove: str, tag_to_add: str) -> None:
        """Remove one tag and add one, in one change."""
        self._change(remove=[tag_to_remove], add=[tag_to_add])

    def replace_tags(self, tags_to_remove: Iterable[str], tags_to_add: Iterable[str]) -> None:
        """Remove some tags, then add some, in one change."""
        self._change(remove=tags_to_remove, add=tags_to_add)

    @property
    def tag_history(self) -> list[TagChange]:
        """Every change of the run's user tags, the oldest first: ``tag``, ``action``, ``identity`` and ``at``."""
        db, run_pk = self._tagged()
        return [TagChange(tag, action, who, time_of(at)) for tag, action, who, at in tag_events(db, run_pk)]

    def _change(self, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        adding, removing = _list(add), _list(remove)
        db, run_pk = self._tagged()
        change_tags(db, run_pk, adding, removing, identity=identity())


def _list(tags: Iterable[str]) -> list[str]:
    """The tags as a list; a text alone is one tag, not its characters."""
    if isinstance(tags, str):
        return [tags]
    try:
        return list(tags)
    except TypeError:
        raise MetaflowTaggingError(f"Tags are given as a list of texts, not as {show(tags)}.") from None
