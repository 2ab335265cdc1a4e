"""Which namespaces there are."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from metaflow_core.metadata import run_queries
from metaflow_core.results import provider
from metaflow_core.results.base import time_of
from metaflow_core.results.tag_list import named_flows


class NamespaceInfo(NamedTuple):
    """A tag that can be a namespace: on how many runs, when the first and the last of them started, whose they are."""

    namespace: str
    runs: int
    since: datetime
    latest: datetime
    owners: tuple[str, ...]


def list_namespaces(flow: str | None = None, system: bool = False) -> list[NamespaceInfo]:
    """The namespaces in which ``flow`` (by default any flow) has runs, those of users and deployments first.

    With ``system``, also the tags that every run gets by itself, such as ``date:2026-01-31``.
    """
    db = provider.backend().db
    found: dict[str, NamespaceInfo] = {}
    for row in named_flows(db, flow):
        for use in run_queries.tags_in_use(db, row.pk):
            first, last = (run_queries.run_by_pk(db, pk) for pk in (use.first_pk, use.last_pk))
            if (
                not system
                and use.tag in run_queries.tags_of(db, [first.pk])[first.pk].system
                and not _is_identity(use.tag)
            ):
                continue
            # A user's runs are the user's; other tags may be on anyone's.
            whose = [first.owner] if use.tag.startswith("user:") else run_queries.owners_of(db, row.pk, use.tag)
            info = NamespaceInfo(use.tag, use.runs, time_of(first.created_at), time_of(last.created_at), tuple(whose))
            found[use.tag] = _together(found[use.tag], info) if use.tag in found else info
    return sorted(found.values(), key=lambda info: (not _is_identity(info.namespace), info.namespace))


def _together(one: NamespaceInfo, other: NamespaceInfo) -> NamespaceInfo:
    return NamespaceInfo(
        one.namespace,
        one.runs + other.runs,
        min(one.since, other.since),
        max(one.latest, other.latest),
        tuple(sorted({*one.owners, *other.owners})),
    )


def _is_identity(tag: str) -> bool:
    return tag.startswith(("user:", "production:"))
