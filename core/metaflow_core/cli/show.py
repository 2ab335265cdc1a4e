"""`check`, `show` and `output-...`: a flow without running it."""

from __future__ import annotations

import click

from metaflow_core.cli.flow import FlowContext
from metaflow_core.decorators.resolve import check_decorators, mutate
from metaflow_core.graph import render
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import FlowDef


@click.command
@click.pass_obj
def check(context: FlowContext) -> None:
    """Check that the flow is valid, without running it."""
    context.banner("Validating your flow...")
    lint(_mutated(context))
    check_decorators(context.flow)
    context.banner("The graph looks good.")


@click.command
@click.pass_obj
def show(context: FlowContext) -> None:
    """Print the steps of the flow."""
    click.echo(render.flow_to_text(_mutated(context)), nl=False)


@click.command("output-dot")
@click.pass_obj
def output_dot(context: FlowContext) -> None:
    """Print the graph for Graphviz: output-dot | dot -Tsvg"""
    click.echo(render.flow_to_dot(_mutated(context)), nl=False)


@click.command("output-raw")
@click.option("--json", "as_json", is_flag=True, help="On one line, for programs.")
@click.pass_obj
def output_raw(context: FlowContext, as_json: bool) -> None:
    """Print the graph as data."""
    click.echo(render.flow_to_json(_mutated(context), indent=None if as_json else 2))


@click.command("output-mermaid")
@click.pass_obj
def output_mermaid(context: FlowContext) -> None:
    """Print the graph as a Mermaid flowchart."""
    click.echo(render.flow_to_mermaid(_mutated(context)), nl=False)


def _mutated(context: FlowContext) -> FlowDef:
    """The flow as a run has it."""
    mutate(context.flow)
    return context.flow
