"""The Python skin: Metaflow's public API over the language-neutral core.

Everything here is imported when it is first used, so that ``import metaflow`` costs next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing `typing` for it would double the cost of this module
if TYPE_CHECKING:
    from typing import Any

    from metaflow_core.engine.current import current
    from metaflow_core.results import (
        DataArtifact,
        Flow,
        Metaflow,
        Run,
        Step,
        Task,
        collect_garbage,
        default_metadata,
        default_namespace,
        get_metadata,
        get_namespace,
        inspect_spin,
        list_namespaces,
        list_tags,
        metadata,
        namespace,
    )

    from metaflow.call_step import call_step
    from metaflow.config import Config, ConfigValue, config_expr
    from metaflow.decorators import Decorator, step
    from metaflow.deployer import DeployedFlow, Deployer, list_deployed_flows
    from metaflow.flowspec import FlowSpec
    from metaflow.mutators import FlowMutator, MutableFlow, MutableStep, StepMutator
    from metaflow.nbrunner import NBDeployer, NBRunner
    from metaflow.parameters import IncludeFile, JSONType, Parameter
    from metaflow.r_step import r_step
    from metaflow.runner import Runner
    from metaflow.user_code import UserStepDecorator, user_step_decorator

    retry: Decorator
    catch: Decorator
    timeout: Decorator
    environment: Decorator
    resources: Decorator
    parallel: Decorator
    secrets: Decorator
    exit_hook: Decorator
    project: Decorator
    schedule: Decorator
    trigger: Decorator
    trigger_on_finish: Decorator
    pypi: Decorator
    pypi_base: Decorator
    conda: Decorator
    conda_base: Decorator
    r_packages: Decorator

__all__ = [
    "Config",
    "ConfigValue",
    "DataArtifact",
    "DeployedFlow",
    "Deployer",
    "Flow",
    "FlowMutator",
    "FlowSpec",
    "IncludeFile",
    "JSONType",
    "Metaflow",
    "MutableFlow",
    "MutableStep",
    "NBDeployer",
    "NBRunner",
    "Parameter",
    "Run",
    "Runner",
    "Step",
    "StepMutator",
    "Task",
    "UserStepDecorator",
    "call_step",
    "catch",
    "collect_garbage",
    "conda",
    "conda_base",
    "config_expr",
    "current",
    "default_metadata",
    "default_namespace",
    "environment",
    "exit_hook",
    "get_metadata",
    "get_namespace",
    "inspect_spin",
    "list_deployed_flows",
    "list_namespaces",
    "list_tags",
    "metadata",
    "namespace",
    "parallel",
    "project",
    "pypi",
    "pypi_base",
    "r_packages",
    "r_step",
    "resources",
    "retry",
    "schedule",
    "secrets",
    "step",
    "timeout",
    "trigger",
    "trigger_on_finish",
    "user_step_decorator",
]

_SUBMODULES = ("deployer", "exception", "flowspec", "integrations", "parameters", "runner")

_HOMES = {
    "call_step": "metaflow.call_step",
    "Config": "metaflow.config",
    "ConfigValue": "metaflow.config",
    "config_expr": "metaflow.config",
    "FlowSpec": "metaflow.flowspec",
    "step": "metaflow.decorators",
    "r_step": "metaflow.r_step",
    "IncludeFile": "metaflow.parameters",
    "JSONType": "metaflow.parameters",
    "DeployedFlow": "metaflow.deployer",
    "Deployer": "metaflow.deployer",
    "list_deployed_flows": "metaflow.deployer",
    "NBDeployer": "metaflow.nbrunner",
    "NBRunner": "metaflow.nbrunner",
    "Parameter": "metaflow.parameters",
    "Runner": "metaflow.runner",
    "FlowMutator": "metaflow.mutators",
    "MutableFlow": "metaflow.mutators",
    "MutableStep": "metaflow.mutators",
    "StepMutator": "metaflow.mutators",
    "UserStepDecorator": "metaflow.user_code",
    "user_step_decorator": "metaflow.user_code",
    "current": "metaflow_core.engine.current",
}


def _show_uncaught(cls: Any, error: Any, trace: Any) -> None:
    from metaflow.uncaught import show

    show(cls, error, trace)


if sys.excepthook is sys.__excepthook__:  # who has set another one wants to see all
    sys.excepthook = _show_uncaught


def __getattr__(name: str) -> Any:
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"metaflow.{name}")
    value = None if name.startswith("_") else _find(name)
    if value is None:
        raise AttributeError(f"module 'metaflow' has no attribute {name!r}")
    globals()[name] = value
    return value


def _find(name: str) -> Any:
    import importlib

    from metaflow.decorators import BUILT_IN, find

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__ and name not in BUILT_IN:
        return getattr(importlib.import_module("metaflow_core.results"), name)
    return find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
