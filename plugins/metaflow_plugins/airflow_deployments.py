"""Flows on Apache Airflow: ``python flow.py airflow create dags/flow.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.deployment.interface import Orchestrator

NAME = "airflow"


@hookimpl
def orchestrator_names() -> Sequence[str]:
    return [NAME]


@hookimpl
def open_orchestrator(name: str) -> Orchestrator | None:
    if name != NAME:
        return None
    from metaflow_plugins.airflow_orchestrator import Airflow

    return Airflow()
