"""The language runtime for steps written in Python."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import InvalidNextException, MetaflowException
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.engine.interface import LanguageRuntime
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef

_HERE = os.path.dirname(os.path.abspath(__file__))


@hookimpl
def language_runtime(language: str) -> LanguageRuntime | None:
    return PythonRuntime() if language == "python" else None


@hookimpl
def user_decorator(name: str, where: str, folder: str | None) -> Callable[[Mapping[str, Any]], DecoratorSpec] | None:
    if "." not in name:
        return None
    from metaflow.user_module import load

    return load(name, where, folder)


class PythonRuntime:
    """Calls methods of the flow's class; ``StepDef.body`` is the class."""

    language = "python"

    def prepare(self, flow: FlowDef) -> None:
        """The class of a Python flow is loaded already; a Python function of another flow is loaded now."""
        for step in flow:
            load = getattr(step.body, "_metaflow_load", None)
            if step.language == "python" and load is not None:
                load()

    def run_step(self, flow: FlowDef, step: StepDef, state: TaskState) -> None:
        from metaflow.flowspec import task_instance

        user = sys.modules.get("metaflow.user_code")  # a flow without decorators of its own does not load it
        instance = task_instance(step.body, state) if user is None else user.flow_of(state)
        body = getattr(instance, step.name)
        if state.inputs is None:
            body()
        else:
            body(state.inputs)

    def follow_graph(self, step: StepDef, state: TaskState) -> None:
        transition = step.transition
        assert transition is not None
        if transition.kind == "switch":
            state.next((), cases=dict(transition.cases), condition=transition.condition)
        elif transition.kind == "parallel" and transition.num_parallel is None:
            raise InvalidNextException(
                f"Step {step.name} was skipped, and only its own code says how many tasks follow. "
                f"Let the decorator say it: flow.next(flow.{transition.targets[0]}, num_parallel=...)."
            )
        else:
            state.next(transition.targets, foreach=transition.foreach, num_parallel=transition.num_parallel)

    def system_tags(self) -> list[str]:
        """None: every run says with which Python it was made."""
        return []

    def packages(self) -> dict[str, str]:
        """The installed distributions."""
        from metaflow.packages import installed

        return installed()

    def source(self, flow: FlowDef, step: StepDef) -> str | None:
        """None: the code of a flow's class is in its file, or in a notebook."""
        return None

    def detached(self, flow: FlowDef) -> list[str] | None:
        """None: the flow's file is a Python program."""
        return None

    def add_libraries(self, folders: Sequence[str], packages: Mapping[str, str]) -> None:
        sys.path[:0] = folders

    def artifacts_in(self, file: str, nested: Collection[str]) -> Mapping[str, Any]:
        """``ARTIFACTS``, a dict in a module."""
        from metaflow.user_module import artifacts_in

        return artifacts_in(file)

    def describe_error(self, error: BaseException) -> tuple[str, str]:
        """The name of the error's class, and a traceback without the frames of this package."""
        import metaflow_core

        ours: tuple[str, ...] = (_HERE + os.sep, os.path.dirname(os.path.abspath(metaflow_core.__file__)) + os.sep)
        for name in ("metaflow_plugins", "metaflow_r"):
            package = sys.modules.get(name)
            if package is not None and package.__file__:
                ours += (os.path.dirname(os.path.abspath(package.__file__)) + os.sep,)
        report = traceback.TracebackException.from_exception(error)
        if isinstance(error, MetaflowException):
            report.__cause__ = None  # how it came about inside this package says nothing to a user
            report.__suppress_context__ = True
        waiting: list[traceback.TracebackException | None] = [report]
        while waiting:
            one = waiting.pop()
            if one is not None:
                one.stack = traceback.StackSummary.from_list(_without(one.stack, ours))
                waiting += [one.__cause__, one.__context__]
        text = "".join(report.format())
        if not report.stack:
            text = text.replace("Traceback (most recent call last):\n", "", 1)
        cls = type(error)
        if cls.__module__ == MetaflowException.__module__:  # where the class lives is no user's business
            return cls.__name__, text.replace(f"{cls.__module__}.{cls.__name__}: ", f"{cls.__name__}: ")
        return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}", text


def _without(stack: Iterable[traceback.FrameSummary], ours: tuple[str, ...]) -> Iterator[traceback.FrameSummary]:
    """The frames that are not of this package, nor of what it calls in Python's library."""
    library = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    within = False
    for frame in stack:
        path = os.path.abspath(frame.filename)
        within = path.startswith(ours) or (within and path.startswith(library))
        if not within:
            yield frame
