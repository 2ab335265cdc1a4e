"""``spin``: try one step on the inputs that it had in an earlier run."""

from __future__ import annotations

import os

import click

from metaflow_core import identity
from metaflow_core.cli.environments import make, wanted
from metaflow_core.cli.flow import FlowContext
from metaflow_core.decorators.resolve import check_decorators, has_secrets
from metaflow_core.engine.masking import MaskSender
from metaflow_core.engine.relay import run_masked
from metaflow_core.engine.streams import flush_streams
from metaflow_core.engine.task import Libraries, TaskSettings, try_step
from metaflow_core.errors import CommandException
from metaflow_core.graph.lint import lint
from metaflow_core.metadata.cloning import latest_run_id, latest_task_id
from metaflow_core.names import show


@click.command
@click.argument("place", metavar="STEP|RUN/STEP[/TASK]")
@click.option("--max-num-splits", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--namespace", help="Namespace of the client inside the step; empty for the global one.")
@click.option("--inside", is_flag=True, hidden=True)  # the process has the step's packages
@click.pass_obj
def spin(context: FlowContext, place: str, max_num_splits: int, namespace: str | None, inside: bool) -> int:
    """Run one step alone, in this process, on the inputs of an earlier run. Nothing is stored.

    STEP takes its inputs from your latest run; RUN/STEP from that run; with a task, from that task.
    """
    flow, db = context.flow, context.backend.db
    lint(flow)
    parts = place.removeprefix(f"{flow.name}/").split("/")
    if len(parts) > 3 or not all(parts):
        raise CommandException(f"{show(place)} is neither STEP nor RUN/STEP[/TASK].")
    run_id = parts[0] if len(parts) > 1 else None
    step = parts[0] if len(parts) == 1 else parts[1]
    task_id = parts[2] if len(parts) > 2 else None
    if step not in flow:
        raise CommandException(f"There is no step {show(step)}. Steps: {', '.join(flow.steps)}.")
    if run_id is None:
        run_id = latest_run_id(db, flow.name, identity.identity())
        if run_id is None:
            raise CommandException(
                f"You ({identity.user()}) have no run of {flow.name} to take inputs from. Run it once."
            )
    if task_id is None:
        task_id = latest_task_id(db, flow.name, run_id, step)
        if task_id is None:
            raise CommandException(f"Run {flow.name}/{run_id} has no task of step {step} to take inputs from.")
    if flow.configs:
        from metaflow_core.cli.configs import take_configs

        take_configs(flow, context.backend, run_id)
    check_decorators(flow)
    libraries = None if inside else _enter(context, step, place, max_num_splits, namespace)
    context.banner(f"Trying step {step} on the inputs of {flow.name}/{run_id}/{step}/{task_id}. Nothing is stored.")

    def work(masks: MaskSender | None = None) -> int:
        settings = TaskSettings(max_num_splits, namespace, context.flow_options, masks, libraries or {})
        return 0 if try_step(flow, context.backend, settings, run_id, step, task_id) else 1

    if not has_secrets(flow[step]):
        return work()
    context.backend.close()
    return run_masked(work)


def _enter(
    context: FlowContext, step: str, place: str, max_num_splits: int, namespace: str | None
) -> dict[str, Libraries]:
    """The folders of packages that the step has asked for; one with an interpreter of its own replaces this process."""
    request = wanted(context).get(step)
    if request is None:
        return {}
    context.backend.close()
    found = make(context, {step: request})[step]
    if found.interpreter is None:
        return {step: (found.libraries, found.lock.packages)}
    settings = TaskSettings(max_num_splits, namespace)
    quiet = ["--quiet"] if context.quiet else []
    program = [*found.program(context.program), *quiet, *context.arguments]
    command = [*program, "spin", place, "--inside", *settings.as_arguments()]
    flush_streams()
    os.execvp(command[0], command)
