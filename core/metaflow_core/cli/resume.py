"""``resume``: run the rest of an earlier run."""

from __future__ import annotations

from typing import Any

import click

from metaflow_core import identity
from metaflow_core.cli.environments import make, wanted
from metaflow_core.cli.flow import FlowContext
from metaflow_core.cli.run import prepare, run_options
from metaflow_core.engine.resume import find_origin, plan_resume
from metaflow_core.engine.run import create_run, execute, open_processes
from metaflow_core.errors import CommandException
from metaflow_core.graph.parameters import Given, ParameterContext, evaluate, key
from metaflow_core.metadata import liveness, recording, run_queries

# What became of the run that is resumed.
_FATE = {
    "completed": "is complete",
    "failed": "failed",
    "interrupted": "was interrupted",
    "lost": "was killed",
    "running": "is still running: what it finishes from now on is not taken over",
}


@click.pass_obj
def _resume(context: FlowContext, /, step: str | None, origin_run_id: str | None, dry_run: bool, **options: Any) -> int:
    flow, backend = context.flow, context.backend
    if flow.configs:  # before anything is checked or forked, because all of it may depend on them
        from metaflow_core.cli.configs import take_configs

        take_configs(flow, backend, find_origin(backend.db, flow, origin_run_id, identity.identity()).id)
        backend.close()
    run = prepare(context, options)
    requests = wanted(context)
    if requests and not dry_run:
        run.environments = make(context, requests, find_origin(backend.db, flow, origin_run_id, identity.identity()).pk)
    processes = None if dry_run else open_processes(flow, backend, run)
    try:
        origin = find_origin(backend.db, flow, origin_run_id, identity.identity())
        plan = plan_resume(backend.db, flow, origin, step)
        about = _about(context, origin)
        if processes is None:
            from metaflow_core.engine.resume_preview import preview
            from metaflow_core.metadata.cloning import origin_tasks

            click.echo(f"Resuming {about} A resumed run would do this:")
            for line in preview(flow, plan, origin_tasks(backend.db, origin.pk)):
                click.echo(f"  {line}")
            return 0
        if plan.at_once > run.limits.max_workers:
            raise CommandException(
                f"num_parallel={plan.at_once} needs as many workers, and there are {run.limits.max_workers}. "
                f"Raise it: --max-workers {plan.at_once}"
            )
        context.banner(f"Resuming {about}")
        # The origin's parameters are taken over as they are. One that it did not have yet gets its default.
        had = recording.artifacts(backend.db, origin.parameters_pk, 0)
        given = {key(parameter): Given(None) for parameter in flow.parameters if parameter.artifact in had}
        parameters = evaluate(flow, given, ParameterContext.of(flow, identity.user()), required=False)
        row = create_run(flow, backend, run, parameters, origin)
    except BaseException:
        if processes is not None:
            processes.close()
        raise
    return 0 if execute(flow, backend, processes, run, row, plan) == "completed" else 1


def _about(context: FlowContext, origin: recording.RunRow) -> str:
    """The run that is resumed, whose it is when it is someone else's, and how it went."""
    row = run_queries.run_by_pk(context.backend.db, origin.pk)
    tags = run_queries.tags_of(context.backend.db, [origin.pk])[origin.pk].system
    whose = sorted(tag for tag in tags if tag.startswith(("user:", "production:")) and tag != identity.identity())
    of = f" of {whose[0]}" if whose else ""
    return f"{context.flow.name}/{origin.id}{of}, which {_FATE[liveness.status(row)]}."


class _Command(click.Command):
    """Says why it has no options for parameters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            context = ctx.find_object(FlowContext)
            names = [parameter.name for parameter in context.flow.parameters] if context else []
            if error.option_name.lstrip("-") not in names:
                raise
            raise click.UsageError(
                f"{error.option_name} can't be given: the parameters are those of the run that is resumed. "
                f"To choose them, start a run of its own: run {error.option_name} ...",
                ctx,
            ) from None


resume_command = _Command(
    "resume",
    params=[
        click.Argument(["step"], required=False),
        click.Option(["--origin-run-id"], metavar="RUN", help="The run to resume. By default your latest one."),
        click.Option(["--dry-run"], is_flag=True, help="Say what would be taken over and what would run, and why."),
        *run_options(),
    ],
    callback=_resume,
    help="Take the finished tasks of an earlier run over, and run the rest: from STEP on, or what failed.",
)
