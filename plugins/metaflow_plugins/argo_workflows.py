"""Flows on Argo Workflows: ``python flow.py argo-workflows create``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.deployment.interface import Orchestrator

NAME = "argo-workflows"


@hookimpl
def orchestrator_names() -> Sequence[str]:
    return [NAME]


@hookimpl
def open_orchestrator(name: str) -> Orchestrator | None:
    if name != NAME:
        return None
    from metaflow_plugins.argo_orchestrator import ArgoWorkflows

    return ArgoWorkflows()


@hookimpl
def publish_event(orchestrator: str, event: Mapping[str, Any]) -> bool | None:
    if orchestrator != NAME:
        return None
    from metaflow_core import settings
    from metaflow_core.deployment.argo_events import post

    url = settings.get("ARGO_EVENTS_WEBHOOK_URL")
    if url:
        post(event, url)
    return bool(url)
