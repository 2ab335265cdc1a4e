"""``exit-hook``: call the functions of ``@exit_hook``. A run that must not fork calls it; people do not need it."""

from __future__ import annotations

import click

from metaflow_core.cli.flow import FlowContext
from metaflow_core.engine.exit_hooks import call_hooks
from metaflow_core.engine.streams import make_streams
from metaflow_core.engine.task import runtime_of


@click.command("exit-hook", hidden=True)
@click.option("--run-id", required=True)
@click.option("--status", required=True)
@click.option("--namespace")
@click.pass_obj
def exit_hook_command(context: FlowContext, run_id: str, status: str, namespace: str | None) -> int:
    """Call what the flow wants to be called when the run has ended with this status."""
    make_streams()
    if context.flow.configs:
        from metaflow_core.cli.configs import take_configs

        take_configs(context.flow, context.backend, run_id)
    for language in sorted(context.flow.languages):
        runtime_of(language).prepare(context.flow)
    return 1 if call_hooks(context.flow, run_id, status, namespace) else 0
