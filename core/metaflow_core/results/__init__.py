"""The client: results of runs, found again.

    run = Flow("HelloFlow").latest_successful_run
    run.data.greeting

Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaflow_core.results.artifact import DataArtifact as DataArtifact
    from metaflow_core.results.current_namespace import default_namespace as default_namespace
    from metaflow_core.results.current_namespace import get_namespace as get_namespace
    from metaflow_core.results.current_namespace import namespace as namespace
    from metaflow_core.results.data import MetaflowData as MetaflowData
    from metaflow_core.results.flow import Flow as Flow
    from metaflow_core.results.garbage import GarbageReport as GarbageReport
    from metaflow_core.results.garbage import collect_garbage as collect_garbage
    from metaflow_core.results.metaflow import Metaflow as Metaflow
    from metaflow_core.results.namespaces import NamespaceInfo as NamespaceInfo
    from metaflow_core.results.namespaces import list_namespaces as list_namespaces
    from metaflow_core.results.provider import default_metadata as default_metadata
    from metaflow_core.results.provider import get_metadata as get_metadata
    from metaflow_core.results.provider import inspect_spin as inspect_spin
    from metaflow_core.results.provider import metadata as metadata
    from metaflow_core.results.run import Run as Run
    from metaflow_core.results.step import Step as Step
    from metaflow_core.results.tag_list import TagInfo as TagInfo
    from metaflow_core.results.tag_list import list_tags as list_tags
    from metaflow_core.results.task import Task as Task

_HOMES = {
    "DataArtifact": "artifact",
    "Flow": "flow",
    "GarbageReport": "garbage",
    "Metaflow": "metaflow",
    "MetaflowData": "data",
    "NamespaceInfo": "namespaces",
    "Run": "run",
    "Step": "step",
    "TagInfo": "tag_list",
    "Task": "task",
    "collect_garbage": "garbage",
    "default_metadata": "provider",
    "default_namespace": "current_namespace",
    "get_metadata": "provider",
    "get_namespace": "current_namespace",
    "inspect_spin": "provider",
    "list_namespaces": "namespaces",
    "list_tags": "tag_list",
    "metadata": "provider",
    "namespace": "current_namespace",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
