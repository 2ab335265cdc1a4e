"""``resume``: run the rest of an earlier run."""

from __future__ import annotations

from typing import Any

import click

from metaflow_core import identity
from metaflow_core.cli.flow import FlowContext
from metaflow_core.cli.run import prepare, run_options
from metaflow_core.engine.resume import find_origin, plan_resume
from metaflow_core.engine.run import create_run, execute, open_compute
from metaflow_core.graph.parameters import ParameterContext, evaluate


@click.pass_obj
def _resume(context: FlowContext, /, step: str | None, origin_run_id: str | None, dry_run: bool, **options: Any) -> int:
    flow, backend = context.flow, context.backend
    run = prepare(context, options)
    compute = None if dry_run else open_compute(flow, backend, run)
    try:
        origin = find_origin(backend.db, flow, origin_run_id, identity.user())
        plan = plan_resume(backend.db, flow, origin, step)
        if compute is None:
            click.echo(f"Resuming {flow.name}/{origin.id} would do this:")
            for line in plan.lines(flow):
                click.echo(f"  {line}")
            return 0
        context.banner(f"Resuming {flow.name}/{origin.id}.")
        # A parameter that the origin did not have yet gets its default.
        parameters = evaluate(flow, {}, ParameterContext.of(flow, identity.user()), required=False)
        row = create_run(flow, backend, run, parameters, origin)
    except BaseException:
        if compute is not None:
            compute.close()
        raise
    return 0 if execute(flow, backend, compute, run, row, plan) == "completed" else 1


resume_command = click.Command(
    "resume",
    params=[
        click.Argument(["step"], required=False),
        click.Option(["--origin-run-id"], metavar="RUN", help="The run to resume. By default your latest one."),
        click.Option(["--dry-run"], is_flag=True, help="Say what would be taken over and what would run, and why."),
        *run_options("resume"),
    ],
    callback=_resume,
    help="Take the finished tasks of an earlier run over, and run the rest: from STEP on, or what failed.",
)
