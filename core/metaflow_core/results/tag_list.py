"""Which tags there are."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata import run_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_queries import StoredFlow
from metaflow_core.metadata.tags import tags_given
from metaflow_core.results import messages, provider
from metaflow_core.results.base import time_of


class TagInfo(NamedTuple):
    """A tag: on how many runs it is now, when it was first and last given to one, and by which identities."""

    tag: str
    runs: int
    since: datetime
    latest: datetime
    by: tuple[str, ...]


def list_tags(flow: str | None = None, system: bool = False) -> list[TagInfo]:
    """The tags that runs of ``flow`` (by default of any flow) have now, in the order of the alphabet.

    They are those that people gave. With ``system``, also those that every run gets by itself, such as
    ``date:2026-01-31``, as given by the run's owner when the run started.
    """
    db = provider.backend().db
    found: dict[str, TagInfo] = {}
    for row in named_flows(db, flow):
        uses = run_queries.tags_in_use(db, row.pk)
        given = tags_given(db, row.pk)
        for use in uses:
            if use.tag in given:
                first_at, last_at, by = given[use.tag]
                info = TagInfo(use.tag, use.runs, time_of(first_at), time_of(last_at), by)
            elif system:
                first, last = (run_queries.run_by_pk(db, pk) for pk in (use.first_pk, use.last_pk))
                owners = tuple(f"user:{owner}" for owner in run_queries.owners_of(db, row.pk, use.tag))
                info = TagInfo(use.tag, use.runs, time_of(first.created_at), time_of(last.created_at), owners)
            else:
                continue
            found[use.tag] = _together(found[use.tag], info) if use.tag in found else info
    return sorted(found.values())


def named_flows(db: Database, flow: str | None) -> list[StoredFlow]:
    """All flows, or the one of this name; ``MetaflowNotFound`` when there is none."""
    if flow is None:
        return run_queries.find_flows(db, None)
    name = str(getattr(flow, "id", flow))
    row = run_queries.flow_by_name(db, name)
    if row is None:
        raise MetaflowNotFound(messages.no_flow(name, run_queries.flow_names(db)))
    return [row]


def _together(one: TagInfo, other: TagInfo) -> TagInfo:
    by = tuple(sorted({*one.by, *other.by}))
    return TagInfo(one.tag, one.runs + other.runs, min(one.since, other.since), max(one.latest, other.latest), by)
