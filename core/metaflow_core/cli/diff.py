"""``metaflow diff``: how two runs, or two tasks, differ."""

from __future__ import annotations

import json
import sys

import click

from metaflow_core.cli.objects import namespace_option, opened
from metaflow_core.errors import MetaflowException


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--full", is_flag=True, help="Look into values of more than 64 MB, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs, and with 2 after an error.")
@namespace_option
def diff(old: str, new: str, full: bool, as_json: bool, exit_code: bool, namespace: str | None) -> None:
    """Show how the run NEW differs from the run OLD.

    As in: metaflow diff HelloFlow/5 HelloFlow/7

    Compared are parameters, artifacts, user tags, environment, graph and code; when they ran, and for how long, is
    shown and no difference. The runs can be of different flows. Two tasks are compared in the same way by their
    artifacts: metaflow diff HelloFlow/5/fit/3 HelloFlow/7/fit/3
    """
    from metaflow_core.results.diff import compare
    from metaflow_core.results.diff_text import text

    try:
        with opened([old, new], ("run", "step", "task"), namespace) as (one, other):
            found = compare(one, other, full)
            if as_json:
                click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
            else:
                click.echo(spelt(text(found, colour=True, max_code=None)))
            differs = found.differs
    except MetaflowException as error:
        if exit_code:
            error.exit_code = 2
        raise
    if exit_code and differs:
        sys.exit(1)


def spelt(text: str) -> str:
    """The text for standard output, which may not know every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("→", "->").encode(encoding, "backslashreplace").decode(encoding)
    return text
