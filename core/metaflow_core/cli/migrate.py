"""``metaflow migrate``: copies the runs of this project into another database, such as that of a team."""

from __future__ import annotations

import sys

import click

from metaflow_core.cli.status import has_database
from metaflow_core.engine.remote import without_password
from metaflow_core.errors import CommandException
from metaflow_core.metadata.backend import Backend, open_backend
from metaflow_core.names import masked

MOST_NAMES = 10


@click.command()
@click.option("--to", required=True, metavar="URL", help="Database to copy into: postgresql://..., sqlite:///PATH.")
@click.option("--datastore", metavar="URL", help="Copy artifacts and logs too, into this store. Default: they stay.")
@click.argument("flows", nargs=-1, metavar="[FLOW]...")
def migrate(to: str, datastore: str | None, flows: tuple[str, ...]) -> None:
    """Copy runs into another metadata database, with ids, tags, the history of tags, results and logs.

    Production tokens are copied too, so a flow that is deployed again there stays in its namespace.

    Without FLOW the runs of all flows. Nothing is changed here. Interrupted, it goes on when called again: what is
    there already is not copied twice. In the end all that was copied is read again and compared.

    Nothing is copied when another run has one of the ids there already.
    """
    from metaflow_core.metadata import copying

    here = open_backend()
    if not has_database(here):
        raise CommandException(f"There are no results in {masked(here.metadata_url)}. Nothing was copied.")
    there = open_backend(to, datastore or here.storage_url)
    if there.metadata_url == here.metadata_url:
        raise CommandException("--to is the database that is used here already. Nothing was copied.")
    source, target = copying.Place(here.db, here.storage), copying.Place(there.db, there.storage)
    known = {name for (name,) in source.db.execute("SELECT name FROM flows")}
    unknown = [name for name in flows if name not in known]
    if unknown:
        raise CommandException(f"There are no runs here of {', '.join(unknown)}. Nothing was copied.")
    plan = copying.plan_copy(source.db, target.db, flows)
    if plan.conflicts:
        raise CommandException(
            f"{masked(to)} has other runs with the same ids: {_some(plan.conflicts)}. Nothing was copied. Copy other "
            f"flows (metaflow migrate --to URL FLOW), or into another database."
        )
    for number, run in enumerate(plan.missing, 1):
        copying.copy_run(source, target, run)
        _progress("copied", number, len(plan.missing))
    every = [*plan.there, *plan.missing]
    copying.copy_reads(source.db, target.db, every)
    _keep_tokens(here, there, copying.copy_tokens(source.db, target.db, flows))
    counts = copying.compare(source, target, every, lambda number: _progress("compared", number, len(every)))
    _progress("", 0, 0)
    click.echo(
        f"Copied {_count(len(plan.missing), 'run')} to {masked(to)}; {len(plan.there)} were there already. Compared: "
        f"{_count(counts['runs'], 'run')}, {_count(counts['tasks'], 'task')}, "
        f"{_count(counts['artifacts'], 'artifact')}, {_count(counts['objects'], 'stored object')}."
    )
    if plan.going:
        click.echo(f"Still running, so not copied: {_some(plan.going)}. Repeat the command when they have ended.")
    for backend in (here, there):
        backend.close()


def _keep_tokens(here: Backend, there: Backend, names: list[str]) -> None:
    """Who may deploy here may deploy there."""
    from metaflow_core.deployment import tokens

    before, after = without_password(here.metadata_url), without_password(there.metadata_url)
    for name in names:
        known = tokens.load_tokens(before, name)
        if known and not tokens.load_tokens(after, name):
            tokens.save_tokens(after, name, known)


def _progress(what: str, number: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{what} {number} of {of} runs" if of else "\r\033[K", nl=False, err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
