"""``metaflow doctor``: does everything fit together here?"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator

import click

from metaflow_core import __version__
from metaflow_core.cli import check_machine, check_project
from metaflow_core.cli.finding import Finding
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked

Check = Callable[[], Iterator[Finding]]

MACHINE: tuple[Check, ...] = (check_machine.python, check_machine.packages, check_machine.r)
BASIS: tuple[Check, ...] = (check_project.configuration,)
STORES: tuple[Check, ...] = (check_project.database, check_project.artifacts)

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
def doctor() -> None:
    """Check Python, R, packages, plugins, settings and stores, and say how to repair what does not fit.

    Exit status 1 when there is a problem.
    """
    click.echo(f"metaflow-tandem {__version__}\n")
    problems = 0
    for check in MACHINE:
        problems += _report(check)
    broken = sum(_report(check) for check in BASIS)
    problems += broken + _report(check_project.found_plugins) + _report(check_project.user)
    if broken:
        _print(Finding("warning", "Metadata and artifacts were not checked: first solve the problem above."))
    else:
        problems += sum(_report(check) for check in STORES)
    if problems:
        click.echo(f"\n{problems} {'problem' if problems == 1 else 'problems'} found.")
        sys.exit(1)


def _report(check: Check) -> int:
    """Print what ``check`` finds, and count the problems. A check that fails is a finding too."""
    problems = 0
    try:
        for finding in check():
            _print(finding)
            problems += finding.level == "problem"
    except MetaflowException as error:
        _print(Finding("problem", masked(str(error))))
        return problems + 1
    except (Exception, SystemExit) as error:
        _print(Finding("problem", f"{(check.__doc__ or check.__name__).strip()} {type(error).__name__}: {error}"))
        return problems + 1
    return problems


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:<8}", fg=STYLES[finding.level])
    click.echo(f"{level} {finding.text}")
    if finding.fix:
        click.echo(textwrap.indent(finding.fix, " " * 9 + "-> "))
