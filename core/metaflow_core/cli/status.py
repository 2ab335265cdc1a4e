"""``metaflow status``: who and where you are."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from metaflow_core import __version__, settings
from metaflow_core.cli.table import print_table
from metaflow_core.errors import MetaflowException
from metaflow_core.identity import identity, user
from metaflow_core.metadata.backend import Backend, open_backend
from metaflow_core.names import masked
from metaflow_core.settings import PREFIX

if TYPE_CHECKING:
    from metaflow_core.cli.all_settings import Shown

SQLITE = "sqlite:///"


@click.command()
@click.option("--settings", "every", is_flag=True, help="Every setting instead: its value, and where it comes from.")
@click.option("--plugins", is_flag=True, help="The plugins instead: where each comes from, and what it implements.")
@click.option("--json", "as_json", is_flag=True, help="With --settings or --plugins: a JSON list, for programs.")
def status(every: bool, plugins: bool, as_json: bool) -> None:
    """Show who you are, where results are kept, and how that was decided."""
    if every and plugins:
        raise click.UsageError("Give one of --settings and --plugins.")
    if every:
        _show_settings(as_json)
        return
    if plugins:
        _show_plugins(as_json)
        return
    if as_json:
        raise click.UsageError("--json goes with --settings or --plugins.")
    backend = open_backend()
    rows = [
        ("version", f"metaflow-tandem {__version__}, Python {platform.python_version()}"),
        ("user", _try(user)),
        ("namespace", _try(identity)),
        ("project", f"{settings.project_root()} ({_why_project()})"),
        ("metadata", f"{masked(backend.metadata_url)} ({_why('METADATA_URL')})"),
        ("artifacts", f"{masked(backend.storage_url)} ({_why('DEFAULT_DATASTORE')})"),
        ("settings", ", ".join(settings.config_files()) or "no configuration file"),
        ("results", _results(backend)),
    ]
    for name, text in rows:
        click.echo(f"{click.style(f'{name:<10}', bold=True)} {text}")
    backend.close()


def _show_settings(as_json: bool) -> None:
    from metaflow_core.cli.all_settings import all_settings

    rows = all_settings()
    if as_json:
        import json

        click.echo(json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False))
        return
    print_table(
        ("setting", "value", "from", ""),
        [(row.variable, _text(row.value), row.origin, row.note if _is_odd(row) else "") for row in rows],
    )


def _show_plugins(as_json: bool) -> None:
    from metaflow_core.cli.all_plugins import all_plugins

    rows = all_plugins()
    if as_json:
        import json

        click.echo(json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False))
        return
    print_table(
        ("plugin", "from", "module", "hooks"),
        [(row.name, f"{row.distribution} {row.version}", row.module, ", ".join(row.hooks) or "-") for row in rows],
    )
    for row in rows:
        for problem in row.problems:
            click.echo(f"{click.style(row.name, fg='red', bold=True)}: {problem}")


def _is_odd(row: Shown) -> bool:
    """Whether there is something to say about it here; what each is for stands in `metaflow configure show`."""
    return row.kind != "setting" or not row.note or row.note != settings.SETTINGS[row.variable[len(PREFIX) :]].doc


def _text(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def has_database(backend: Backend) -> bool:
    """Whether there is something to open: a SQLite file that does not exist is made by the first run, not by a look."""
    url = backend.metadata_url
    return not url.startswith(SQLITE) or os.path.exists(url.removeprefix(SQLITE))


def _results(backend: Backend) -> str:
    if not has_database(backend):
        return "none yet"
    try:
        flows = backend.db.execute("SELECT COUNT(*) FROM flows")[0][0]
        runs = backend.db.execute("SELECT COUNT(*) FROM runs")[0][0]
    except MetaflowException as error:
        return click.style(masked(str(error)), fg="red")
    return f"{flows} {'flow' if flows == 1 else 'flows'} with {runs} {'run' if runs == 1 else 'runs'}"


def _try(find: Callable[[], str]) -> str:
    try:
        return find()
    except MetaflowException as error:
        return click.style(f"unknown. {error}", fg="red")


def _why(name: str) -> str:
    origin = settings.origin(name)
    return "default" if origin == "default" else f"{settings.SETTINGS[name].variable} in {_place(origin)}"


def _why_project() -> str:
    if settings.origin("DATASTORE_SYSROOT_LOCAL") != "default":
        return _why("DATASTORE_SYSROOT_LOCAL")
    root = settings.project_root()
    if not os.path.isdir(os.path.join(root, settings.FOLDER)):
        return f"the working directory; the first run makes {settings.FOLDER} here"
    return f"the nearest directory with {settings.FOLDER}, from the working directory upward"


def _place(origin: str) -> str:
    return "the environment" if origin == "environment" else origin
