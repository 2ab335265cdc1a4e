"""``step``, ``launch`` and ``init``: tasks, anywhere. Back ends call them; people do not need them."""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import click

from metaflow_core import identity
from metaflow_core.cli.flow import FlowContext
from metaflow_core.decorators.resolve import has_secrets, mutate
from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.masking import MaskSender, inherited_channel
from metaflow_core.engine.relay import run_masked
from metaflow_core.engine.run import RunOptions, create_run, load_codecs, local_compute, stay_in_project
from metaflow_core.engine.streams import flush_streams, make_streams
from metaflow_core.engine.task import TaskSettings, run_attempt, runtime_of
from metaflow_core.errors import AttemptGivenUp, CommandException, PluginError
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameter_options import options_for
from metaflow_core.graph.parameters import ParameterContext, evaluate
from metaflow_core.metadata import recording
from metaflow_core.metadata.recording import RunRow, TaskRow
from metaflow_core.names import advise


@click.command("step", hidden=True)
@click.argument("name")
@click.option("--run-id", required=True)
@click.option("--task-id", required=True)
@click.option("--attempt", type=click.IntRange(min=0), default=0)
@click.option("--max-attempts", type=click.IntRange(min=1), default=1)
@click.option("--max-num-splits", type=click.IntRange(min=1), default=100)
@click.option("--fallback", is_flag=True)
@click.option("--claim", is_flag=True)  # run nothing when another process was given the same attempt before
@click.option("--namespace")
@click.pass_obj
def step_command(
    context: FlowContext,
    name: str,
    run_id: str,
    task_id: str,
    attempt: int,
    max_attempts: int,
    max_num_splits: int,
    fallback: bool,
    claim: bool,
    namespace: str | None,
) -> int:
    """Run one attempt of one task of an existing run."""
    make_streams()
    if name not in context.flow:
        raise CommandException(f"There is no step {name!r}. {advise(name, context.flow.steps, 'Steps')}")
    stay_in_project(context.backend)
    if context.flow.configs:
        from metaflow_core.cli.configs import take_configs

        take_configs(context.flow, context.backend, run_id)
    claimed = _claim(context, TaskRequest(run_id, name, task_id, attempt)) if claim else None
    mutate(context.flow)
    runtime_of(context.flow[name].language).prepare(context.flow.only([name]))  # others may need other packages
    request = TaskRequest(run_id, name, task_id, attempt, max_attempts, fallback)
    channel = inherited_channel()

    def work(masks: MaskSender | None) -> int:
        settings = TaskSettings(max_num_splits, namespace, context.flow_options, masks)
        return run_attempt(context.flow, context.backend, settings, request, claimed)

    return run_masked(work) if channel is None and has_secrets(context.flow[name]) else work(channel)


def _claim(context: FlowContext, request: TaskRequest) -> tuple[RunRow, TaskRow]:
    db = context.backend.db
    run = recording.find_run(db, context.flow.name, request.run_id)
    task = recording.find_task(db, run.pk, request.step, request.task_id)
    if not recording.claim_attempt(db, task.pk, request.attempt):
        raise AttemptGivenUp(
            f"Attempt {request.attempt} of {request.step}/{request.task_id} was begun elsewhere, or was given up."
        )
    return run, task


@click.command("launch", hidden=True)
@click.option("--run-id", required=True)
@click.option("--socket", type=int, required=True)
@click.option("--max-num-splits", type=click.IntRange(min=1), default=100)
@click.option("--namespace")
@click.pass_obj
def launch_command(
    context: FlowContext, run_id: str, socket: int, max_num_splits: int, namespace: str | None
) -> NoReturn:
    """Run attempts of an existing run, as they are asked for: each is a fork of this process."""
    flow, backend = context.flow, context.backend
    stay_in_project(backend)
    if flow.configs:
        from metaflow_core.cli.configs import take_configs

        take_configs(flow, backend, run_id)
    mutate(flow)
    for language in sorted(flow.languages):
        with suppress(PluginError):  # a worker without R runs steps in Python
            runtime_of(language).prepare(flow)
    load_codecs()

    def run_task(request: TaskRequest) -> int:
        claimed = _claim(context, request)

        def work(masks: MaskSender | None) -> int:
            settings = TaskSettings(max_num_splits, namespace, context.flow_options, masks)
            return run_attempt(flow, backend, settings, request, claimed)

        return run_masked(work) if has_secrets(flow[request.step]) else work(None)

    flush_streams()
    backend.close()
    local_compute().serve(socket, run_task)


def init(flow: FlowDef) -> click.Command:
    """The ``init`` command: create a run, with its parameters, and print its id."""

    @click.pass_obj
    def callback(context: FlowContext, /, tags: tuple[str, ...], **given: object) -> int:
        parameters = evaluate(flow, given, ParameterContext.of(flow, identity.user()))
        click.echo(create_run(flow, context.backend, RunOptions(tags=tags), parameters).id)
        return 0

    tag = click.Option(["--tag", "tags"], multiple=True)
    return click.Command("init", params=[*options_for(flow), tag], callback=callback, hidden=True)
