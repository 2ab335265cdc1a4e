"""``metaflow configure``: settings in configuration files."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click

from metaflow_core import settings
from metaflow_core.cli.all_settings import shown_value
from metaflow_core.errors import MetaflowException
from metaflow_core.names import show
from metaflow_core.settings import PREFIX, SETTINGS, Setting

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def configure() -> None:
    """Show and change settings.

    A setting is looked for in the environment, then in .metaflow/config.json of the project, then in your own file
    under METAFLOW_HOME, one per profile.
    """


def _choose_file(command: F) -> F:
    command = click.option("--profile", metavar="NAME", help="Your own file of this profile.")(command)
    return click.option("--project", is_flag=True, help="The project's .metaflow/config.json, for all who work in it.")(
        command
    )


@configure.command("show")
@click.argument("name", required=False)
def show_settings(name: str | None) -> None:
    """Show every setting, its value and where it comes from; or the value of one."""
    if name is not None:
        value = settings.get(_setting(name).name)
        click.echo("" if value is None else _text(shown_value(_setting(name).variable, value)))
        return
    rows = [
        (s.name, _text(shown_value(s.variable, settings.get(s.name))), settings.origin(s.name), s.doc)
        for s in SETTINGS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for setting, value, origin, doc in rows:
        where = origin if origin == "default" else click.style(origin, fg="green")
        click.echo(f"{click.style(setting.ljust(widths[0]), bold=True)}  {value.ljust(widths[1])}  {where}")
        click.echo(f"    {doc}")


@configure.command("set")
@click.argument("name")
@click.argument("value")
@_choose_file
def set_value(name: str, value: str, profile: str | None, project: bool) -> None:
    """Set NAME to VALUE."""
    setting = _setting(name)
    path = _file(profile, project)
    content = {**settings.load(path), setting.variable: _checked(setting, value)}
    _write(path, content, private=not project)
    click.echo(f"{setting.variable} is set to {shown_value(setting.variable, value)} in {path}")
    _warn_when_hidden(setting, path, profile)


@configure.command("unset")
@click.argument("name")
@_choose_file
def unset(name: str, profile: str | None, project: bool) -> None:
    """Remove NAME from a file, so that a weaker place or the default counts."""
    path = _file(profile, project)
    content = dict(settings.load(path))
    # A key that this version does not know can be removed too.
    key = next((key for key in (name, PREFIX + name) if key in content), None) or _setting(name).variable
    if key not in content:
        click.echo(f"{key} is not set in {path}")
        return
    del content[key]
    _write(path, content, private=not project)
    click.echo(f"{key} is removed from {path}")


@configure.command("export")
@_choose_file
def export(profile: str | None, project: bool) -> None:
    """Print a configuration file, as `configure import` reads it. It may contain passwords."""
    click.echo(json.dumps(settings.load(_file(profile, project)), indent=2, ensure_ascii=False))


@configure.command("import")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@_choose_file
def import_file(file: TextIO, profile: str | None, project: bool) -> None:
    """Add the settings in FILE (JSON; - for standard input). Nothing is changed when one of them is wrong."""
    given = _read(file)
    path = _file(profile, project)
    by_key = {setting.variable: setting for setting in SETTINGS.values()}
    left = sorted(key for key in given if key not in by_key)
    checked = {key: _checked(by_key[key], given[key]) for key in given if key in by_key and given[key] is not None}
    if checked:
        _write(path, {**settings.load(path), **checked}, private=not project)
    click.echo(f"{len(checked)} {'setting' if len(checked) == 1 else 'settings'} imported into {path}")
    if left:
        click.echo(f"Not known here and left out: {', '.join(left)}", err=True)


def _read(file: TextIO) -> dict[str, Any]:
    try:
        given = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise MetaflowException(f"{file.name} is not valid JSON: {error}. Nothing was imported.") from None
    if not isinstance(given, dict):
        raise MetaflowException(
            f'{file.name} must hold a JSON object such as {{"METAFLOW_USER": "anne"}}, not {type(given).__name__}. '
            "Nothing was imported."
        )
    return given


def _setting(name: str) -> Setting:
    short = name.upper().removeprefix(PREFIX)
    if short not in SETTINGS:
        close = difflib.get_close_matches(short, SETTINGS, 1)
        hint = f"Did you mean {close[0]}?" if close else "`metaflow configure show` lists them."
        raise click.UsageError(f"There is no setting {show(name)}. {hint}")
    return SETTINGS[short]


def _checked(setting: Setting, value: object) -> Any:
    if setting.bootstrap:
        raise click.UsageError(
            f"{setting.variable} says where configuration files are, so it can't be set in one. "
            f"Set it in the environment: export {setting.variable}=..."
        )
    try:
        parsed = setting.parse(value)
    except (ValueError, OverflowError):
        shown = show(shown_value(setting.variable, value) if isinstance(value, str) else value)
        raise click.UsageError(f"{setting.variable} must be {setting.expects}, not {shown}.") from None
    # A path means what it means where it is typed.
    return os.path.abspath(parsed) if setting.type == "path" and not parsed.startswith("~") else parsed


def _file(profile: str | None, project: bool) -> str:
    if project and profile is not None:
        raise click.UsageError("Give --profile or --project, not both: profiles are of your own files.")
    return settings.project_config() if project else settings.home_config(profile)


def _write(path: str, content: dict[str, Any], private: bool) -> None:
    """Replace the file as a whole. Your own one may hold passwords, so a new one is readable by you only."""
    target = os.path.realpath(path)  # a link to a file kept elsewhere stays a link
    temporary = f"{target}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        mode = os.stat(target).st_mode & 0o777 if os.path.exists(target) else 0o600 if private else 0o644
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
                file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
            os.replace(temporary, target)
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise MetaflowException(f"{path} can't be written: {error.strerror}. Nothing was changed.") from error


def _warn_when_hidden(setting: Setting, path: str, profile: str | None) -> None:
    origin = settings.origin(setting.name)
    if origin == "environment":
        click.echo(f"Note: {setting.variable} in the environment is stronger, and has another say.", err=True)
    elif origin != path and profile is None:
        click.echo(f"Note: {origin} is stronger, and sets it too.", err=True)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
