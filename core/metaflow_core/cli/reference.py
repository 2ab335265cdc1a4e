"""How commands name runs and tasks: ``RUN/STEP[/TASK]``, relative to the flow."""

from __future__ import annotations

from typing import Protocol

from metaflow_core.errors import MetaflowInvalidPathspec
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.backend import Backend
from metaflow_core.names import show, split_pathspec
from metaflow_core.results.base import Scope
from metaflow_core.results.flow import Flow
from metaflow_core.results.run import Run
from metaflow_core.results.step import Step
from metaflow_core.results.task import Task


class FlowContext(Protocol):
    """What commands find in ``ctx.obj``."""

    flow: FlowDef
    backend: Backend


def find_flow(context: FlowContext, namespace: str | None = None) -> Flow:
    """The flow of the file, seen in ``namespace``. ``MetaflowNotFound`` when it never ran."""
    return Flow._at(Scope(context.backend, namespace), (context.flow.name,), check=False)


def find_run(context: FlowContext, run_id: str) -> Run:
    """The run of the flow, named ``5`` or ``Flow/5``, in whichever namespace it is."""
    flow = context.flow.name
    parts = split_pathspec(f"{flow}/{run_id.removeprefix(f'{flow}/')}", ("flow", "run"))
    return Run._at(Scope(context.backend, None), tuple(parts), check=False)


def find_tasks(context: FlowContext, reference: str, attempt: int | None = None) -> list[Task]:
    """The task ``RUN/STEP/TASK``, or all tasks of ``RUN/STEP``, the oldest first."""
    flow = context.flow.name
    parts = reference.removeprefix(f"{flow}/").split("/")
    if len(parts) not in (2, 3):
        raise MetaflowInvalidPathspec(f"Name a step as RUN/STEP or a task as RUN/STEP/TASK, not {show(reference)}.")
    kinds = ("flow", "run", "step", "task")[: len(parts) + 1]
    checked = tuple(split_pathspec("/".join((flow, *parts)), kinds))
    scope = Scope(context.backend, None)
    if len(checked) == 4:
        tasks = [Task._at(scope, checked, check=False)]
    else:
        tasks = list(Step._at(scope, checked, check=False))[::-1]
    return [task.at_attempt(attempt) for task in tasks] if attempt is not None else tasks
