"""Which namespaces there are."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata import run_queries
from metaflow_core.results import messages, provider
from metaflow_core.results.base import time_of


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
    flow_pk = None
    if flow is not None:
        row = run_queries.flow_by_name(db, str(getattr(flow, "id", flow)))
        if row is None:
            raise MetaflowNotFound(messages.no_flow(str(flow)))
        flow_pk = row.pk
    found = [
        (not _is_identity(use.tag), use)
        for use in run_queries.tags_in_use(db, flow_pk)
        if system or not use.is_system or _is_identity(use.tag)
    ]
    return [
        NamespaceInfo(use.tag, use.runs, time_of(use.first_at), time_of(use.last_at), use.owners)
        for _, use in sorted(found, key=lambda pair: (pair[0], pair[1].tag))
    ]


def _is_identity(tag: str) -> bool:
    return tag.startswith(("user:", "production:"))
