"""``step`` and ``init``: one task, anywhere. Back ends call them; people do not need them."""

from __future__ import annotations

import click

from metaflow_core import identity
from metaflow_core.cli.flow import FlowContext
from metaflow_core.decorators.resolve import has_secrets, mutate
from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.masking import MaskSender, inherited_channel
from metaflow_core.engine.relay import run_masked
from metaflow_core.engine.run import RunOptions, create_run, stay_in_project
from metaflow_core.engine.streams import make_streams
from metaflow_core.engine.task import TaskSettings, run_attempt, runtime_of
from metaflow_core.errors import AttemptGivenUp, CommandException
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameter_options import options_for
from metaflow_core.graph.parameters import ParameterContext, evaluate
from metaflow_core.metadata import recording
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
    if claim:
        run = recording.find_run(context.backend.db, context.flow.name, run_id)
        task = recording.find_task(context.backend.db, run.pk, name, task_id)
        if not recording.claim_attempt(context.backend.db, task.pk, attempt):
            raise AttemptGivenUp(f"Attempt {attempt} of {name}/{task_id} was begun elsewhere, or was given up.")
    mutate(context.flow)
    runtime_of(context.flow[name].language).prepare(context.flow.only([name]))  # others may need other packages
    request = TaskRequest(run_id, name, task_id, attempt, max_attempts, fallback)
    channel = inherited_channel()

    def work(masks: MaskSender | None) -> int:
        settings = TaskSettings(max_num_splits, namespace, context.flow_options, masks)
        return run_attempt(context.flow, context.backend, settings, request)

    return run_masked(work) if channel is None and has_secrets(context.flow[name]) else work(channel)


def init(flow: FlowDef) -> click.Command:
    """The ``init`` command: create a run, with its parameters, and print its id."""

    @click.pass_obj
    def callback(context: FlowContext, /, tags: tuple[str, ...], **given: object) -> int:
        parameters = evaluate(flow, given, ParameterContext.of(flow, identity.user()))
        click.echo(create_run(flow, context.backend, RunOptions(tags=tags), parameters).id)
        return 0

    tag = click.Option(["--tag", "tags"], multiple=True)
    return click.Command("init", params=[*options_for(flow), tag], callback=callback, hidden=True)
