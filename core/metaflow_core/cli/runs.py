"""``metaflow runs`` and ``runs`` of a flow file: which runs there are, by all that is known of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timezone
from typing import TYPE_CHECKING, Any

import click

from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.cli.status import has_database
from metaflow_core.cli.table import lasting, moment, print_table
from metaflow_core.errors import MetaflowNotFound
from metaflow_core.identity import identity
from metaflow_core.metadata.backend import open_backend
from metaflow_core.names import is_identifier
from metaflow_core.results import messages
from metaflow_core.results.base import Scope, end_of, time_of
from metaflow_core.results.flow import Flow

if TYPE_CHECKING:
    from metaflow_core.cli.flow import FlowContext
    from metaflow_core.metadata.backend import Backend
    from metaflow_core.results.search import RunSearch
    from metaflow_core.results.search_frame import FoundRun

LIMIT = 20
MOST = 2**31 - 2  # runs of a page, and pages
TEXT = 30  # characters of a value that are shown

_OPTIONS = [
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="Runs with this tag. Repeated: with all of them."),
    click.option("--any-tag", "any_tags", multiple=True, metavar="TAG", help="Repeated: runs with any of these tags."),
    click.option("--no-tag", "no_tags", multiple=True, metavar="TAG", help="Runs without this tag. May be repeated."),
    click.option(
        "--status",
        multiple=True,
        metavar="STATUS",
        help="Runs that are running, completed, failed, interrupted or lost. May be repeated.",
    ),
    click.option("--user", multiple=True, metavar="NAME", help="Runs of this user. May be repeated."),
    click.option("--since", metavar="TIME", help="Started since: 2026-01-31, '2026-01-31 10:00', or how long ago: 7d."),
    click.option("--until", metavar="TIME", help="Started until then; all of a day counts."),
    click.option(
        "--namespace",
        type=NAMESPACE,
        metavar="TAG",
        help='In this namespace. By default your own; "" is the global one.',
    ),
    click.option("--all", "every", is_flag=True, help="In every namespace: everybody's runs."),
    click.option(
        "--order-by",
        default="newest",
        metavar="ORDER",
        help="newest (the default), oldest, a value such as accuracy, or -accuracy: the largest first.",
    ),
    click.option(
        "--show",
        multiple=True,
        metavar="NAMES",
        help='Show these parameters and scalar artifacts, with commas between them; "*" is all of them.',
    ),
    click.option(
        "--limit", type=click.IntRange(1), default=LIMIT, metavar="N", help=f"So many runs, by default {LIMIT}."
    ),
    click.option("--page", type=click.IntRange(1), default=1, metavar="N", help="Page 2 has the next ones, and so on."),
    click.option("--after", metavar="RUN", help="The ones that come after this run; new runs do not shift them."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs."),
]


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("flow", required=False)
@click.argument("where", required=False)
@_options
def runs(flow: str | None, where: str | None, **options: Any) -> None:
    """List the runs of FLOW, or of every flow, the newest first.

    \b
    metaflow runs
    metaflow runs TrainFlow "accuracy > 0.9 and not debug" --tag candidate
    metaflow runs TrainFlow --status failed --since 7d --all
    metaflow runs TrainFlow --order-by -accuracy --show accuracy,alpha

    WHERE compares parameters and scalar artifacts, and status, user, tag, created_at, finished_at and duration.
    """
    if flow is not None and where is None and not is_identifier(flow):
        flow, where = None, flow
    backend = open_backend()
    try:
        _list(backend, flow, where, **options)
    finally:
        backend.close()


@click.command("runs")
@click.argument("where", required=False)
@_options
@click.pass_obj
def flow_runs(context: FlowContext, /, where: str | None, **options: Any) -> None:
    """List the runs of this flow, the newest first.

    \b
    runs "accuracy > 0.9 and not debug" --tag candidate
    runs --order-by -accuracy --show accuracy,alpha

    WHERE compares parameters and scalar artifacts, and status, user, tag, created_at, finished_at and duration.
    """
    _list(context.backend, context.flow.name, where, **options)


def _list(
    backend: Backend,
    name: str | None,
    where: str | None,
    namespace: str | None,
    every: bool,
    show: tuple[str, ...],
    limit: int,
    as_json: bool,
    **asked: Any,
) -> None:
    if every and namespace:
        raise click.UsageError("--all and --namespace exclude each other.")
    limit, asked["page"] = min(limit, MOST), min(asked["page"], MOST)
    names = [part.strip() for text in show for part in text.split(",") if part.strip()]
    chosen = None if every else identity() if namespace is None else namespace or None
    if not has_database(backend):
        if name is not None:
            raise MetaflowNotFound("There are no results here yet. Is this the directory of the project?")
        return _nothing("There are no results here yet.", as_json)
    asked = {key: value if value != () else None for key, value in asked.items()}
    with _spelling():
        search = _search(Scope(backend, chosen), name, where or "", limit=limit + 1, **asked)
        columns = search._columns([*search._names, *names])
    found = search._found(columns)
    if as_json:
        for _, run in zip(range(limit), found, strict=False):
            click.echo(json.dumps(_data(run), ensure_ascii=False, allow_nan=False))
        return
    rows = list(found)
    if not rows:
        more = "" if chosen is None else " --all looks in every namespace."
        return _nothing(f"There are no {search._about}.{more}", as_json)
    _print(rows[:limit], columns, name)
    if len(rows) > limit:
        last = rows[limit - 1]
        click.echo(f"There are more: --after {last.id if name else f'{last.flow}/{last.id}'}", err=True)


def _search(scope: Scope, name: str | None, where: str, page: int, limit: int, **asked: Any) -> RunSearch:
    from metaflow_core.results.search import Asked, RunSearch

    flow = None if name is None else Flow._at(scope, (name,), check=False)
    given = {key: value for key, value in asked.items() if value is not None}
    search = RunSearch(scope, flow, Asked(where, **given))
    # One run more than a page has tells whether there are more.
    search._query = search._query._replace(limit=limit, skip=(page - 1) * (limit - 1))
    return search


@contextmanager
def _spelling() -> Iterator[None]:
    before = messages.spell(messages.COMMAND_LINE)
    try:
        yield
    finally:
        messages.spell(before)


def _nothing(text: str, as_json: bool) -> None:
    click.echo(text, err=as_json)


def _print(rows: list[FoundRun], columns: list[str] | None, flow: str | None) -> None:
    names = sorted({name for row in rows for name in row.values}) if columns is None else columns
    header = ["RUN", "STATUS", "STARTED", "DURATION", "USER", *names, "TAGS"]
    # Numbers are compared more easily when they end in the same column.
    texts = {place for place, name in enumerate(names) if any(isinstance(row.values.get(name), str) for row in rows)}
    print_table(
        header,
        (
            [
                row.id if flow else f"{row.flow}/{row.id}",
                row.status,
                moment(time_of(row.created_at)),
                lasting(None if row.duration is None else row.duration / 1e6),
                row.user,
                *(_value(row.values.get(name)) for name in names),
                ", ".join(row.tags),
            ]
            for row in rows
        ),
        right={3, *(5 + place for place in range(len(names)) if place not in texts)},
    )


def _value(value: bool | int | float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= TEXT else text[: TEXT - 3] + "..."


def _data(run: FoundRun) -> dict[str, Any]:
    """What JSON has of a run: times in ISO 8601 and UTC, the duration in seconds."""
    times = {"created_at": time_of(run.created_at), "finished_at": end_of(run.finished_at)}
    return {
        "flow": run.flow,
        "id": run.id,
        "status": run.status,
        "user": run.user,
        **{name: at and at.astimezone(timezone.utc).isoformat() for name, at in times.items()},
        "duration": None if run.duration is None else run.duration / 1e6,
        "tags": run.tags,
        "values": {name: _finite(value) for name, value in run.values.items()},
    }


def _finite(value: bool | int | float | str) -> bool | int | float | str:
    """JSON has no NaN and no infinity: they are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
