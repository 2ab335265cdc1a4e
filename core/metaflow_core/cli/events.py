"""``metaflow events``: publish events for flows with ``@trigger`` on the local orchestrator, and list them."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from metaflow_core.cli.table import print_table
from metaflow_core.deployment.publish import publish_event
from metaflow_core.errors import MetaflowUsageError
from metaflow_core.metadata.events import latest_events
from metaflow_core.names import show
from metaflow_core.results import provider


@click.group
def events() -> None:
    """Events that start flows on the local orchestrator."""


@events.command
@click.argument("name")
@click.option("--payload", metavar="JSON", help="Fields of the event: a JSON object.")
@click.option("--id", metavar="ID", help="What tells the event from others of its name; the same one counts once.")
def publish(name: str, payload: str | None, id: str | None) -> None:
    """Publish an event, and print its id.

    \b
    metaflow events publish data_updated --payload '{"table": "sales", "rows": 100}'
    """
    click.echo(publish_event(name, _payload(payload), id))


@events.command("list")
@click.option("--name", metavar="NAME", help="Those of this name. By default all.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the latest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def list_events(name: str | None, limit: int, as_json: bool) -> None:
    """List the latest events, the newest first."""
    found = latest_events(provider.backend().db, name, limit)
    if as_json:
        for event in found:
            click.echo(json.dumps({**event.as_json(), "publisher": event.publisher}))
    elif found:
        lines = [[e.name, e.id, _time(e.created_at), e.publisher, json.dumps(e.payload)] for e in found]
        print_table(["event", "id", "time", "publisher", "payload"], lines)
    else:
        click.echo("There are no such events." if name else "There are no events yet.", err=True)


def _payload(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise MetaflowUsageError(f"--payload {show(text)} is no JSON: {error}.") from None
    if not isinstance(found, dict):
        raise MetaflowUsageError(f'--payload must be a JSON object such as {{"rows": 100}}, not {show(text)}.')
    return found


def _time(micros: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(micros / 1e6))
