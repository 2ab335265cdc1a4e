"""Which decorators there are by name, and what happens to a name that several provide.

What comes with this package can't be replaced. A name that two plugins provide is refused where a flow uses it: nothing
tells which of them is meant.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from metaflow_core.decorators.interface import Decorator, FlowDecorator, StepDecorator
from metaflow_core.errors import PluginError
from metaflow_core.plugins import OURS, Plugin, answers, report

D = TypeVar("D", bound=Decorator)

_OF_STEPS = "step_decorators"
_OF_FLOWS = "flow_decorators"


@cache
def step_decorator_classes() -> dict[str, type[StepDecorator]]:
    """Every step decorator there is, by name."""
    return {name: found[0][1] for name, found in _step_decorators().items()}


@cache
def flow_decorator_classes() -> dict[str, type[FlowDecorator]]:
    """Every flow decorator there is, by name."""
    return {name: found[0][1] for name, found in _flow_decorators().items()}


def check_unambiguous(name: str, where: str) -> None:
    """``PluginError`` when more than one plugin provides the decorator ``name``, which stands on ``where``."""
    for found in (_step_decorators().get(name, []), _flow_decorators().get(name, [])):
        first = found[0][0] if found else None
        if first is not None and not first.is_ours and len(found) > 1:
            givers = " and ".join(str(plugin) for plugin, _ in found)
            raise PluginError(f"@{name} on {where} may be that of {givers}. Uninstall one of them.")


def clashes() -> dict[Plugin, list[str]]:
    """For each plugin: in one sentence each, which of its decorators have the name of another one."""
    found: dict[Plugin, list[str]] = {}
    for provided in (_step_decorators(), _flow_decorators()):
        for name, givers in provided.items():
            plugins = [plugin for plugin, _ in givers]
            for plugin in plugins:
                if len(plugins) < 2 or plugin.is_ours:
                    continue
                if plugins[0].is_ours:
                    text = f"Its decorator @{name} is not used: {OURS} has one of that name."
                else:
                    others = " and ".join(str(other) for other in plugins if other != plugin)
                    text = f"Flows can't use its decorator @{name}: {others} has one of that name."
                found.setdefault(plugin, []).append(text)
    return found


@cache
def _step_decorators() -> dict[str, list[tuple[Plugin, type[StepDecorator]]]]:
    from metaflow_core.decorators import builtin
    from metaflow_core.decorators.secrets import Secrets

    return _provided(_OF_STEPS, StepDecorator, [*builtin.STEP_DECORATORS, Secrets])


@cache
def _flow_decorators() -> dict[str, list[tuple[Plugin, type[FlowDecorator]]]]:
    from metaflow_core.decorators.exit_hook import ExitHook
    from metaflow_core.decorators.project import Project
    from metaflow_core.decorators.schedule import OnSchedule
    from metaflow_core.decorators.trigger import OnEvent, OnFinish

    return _provided(_OF_FLOWS, FlowDecorator, [ExitHook, Project, OnSchedule, OnEvent, OnFinish])


def _provided(hook_name: str, kind: type[D], core: list[type[D]]) -> dict[str, list[tuple[Plugin, type[D]]]]:
    """Who provides which class, by the name of the decorator, the one that is used first."""
    ours = Plugin("core", "metaflow_core", OURS)
    found: dict[str, list[tuple[Plugin, type[D]]]] = {cls.name: [(ours, cls)] for cls in core}
    for plugin, classes in answers(hook_name):
        for cls in classes:
            if isinstance(cls, type) and issubclass(cls, kind) and isinstance(getattr(cls, "name", None), str):
                found.setdefault(cls.name, []).append((plugin, cls))
            else:
                what = getattr(cls, "__name__", repr(cls))
                report(plugin, f"{hook_name}() gives {what}, which is no subclass of {kind.__name__} with a name.")
    return found
