"""``--environment``, and what commands do before tasks of steps with packages of their own can start."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from metaflow_core.engine.environments import LOCAL, StepEnvironment, prepare, requests_of
from metaflow_core.engine.task import runtime_of

if TYPE_CHECKING:
    from metaflow_core.cli.flow import FlowContext
    from metaflow_core.decorators.interface import EnvironmentRequest


def wanted(context: FlowContext) -> dict[str, EnvironmentRequest]:
    """What the steps ask for, unless ``--environment=local`` says that they run with the packages of this program."""
    requests = requests_of(context.flow, context.environment)
    if context.environment != LOCAL or not requests:
        return requests
    context.banner(f"--environment=local: {', '.join(requests)} run with the packages of this program instead.")
    return {}


def make(
    context: FlowContext, requests: dict[str, EnvironmentRequest], origin_pk: int | None = None
) -> dict[str, StepEnvironment]:
    """The environments, created where they are not there yet. ``origin_pk`` is the run that is resumed."""
    if not requests:
        return {}
    origin: dict[str, Any] | None = None
    if origin_pk is not None:
        from metaflow_core.metadata.texts import texts_of

        origin = json.loads(texts_of(context.backend.db, origin_pk)[1] or "{}")
        context.backend.close()  # what starts programs, and forks, has nothing open
    stores = [context.backend.metadata_url, context.backend.storage_url]
    found = prepare(requests, stores, context.banner, origin)
    if any(one.interpreter for one in found.values()):
        start = runtime_of(context.flow.language).detached(context.flow)
        found = {step: replace(one, start=start, started_by=len(context.program)) for step, one in found.items()}
    return found
