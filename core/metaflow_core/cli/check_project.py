"""Checks of ``metaflow doctor``: settings, user, plugins, metadata and artifacts."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterator
from typing import IO

from metaflow_core import settings
from metaflow_core.cli.all_plugins import all_plugins
from metaflow_core.cli.finding import Finding
from metaflow_core.cli.status import has_database
from metaflow_core.errors import MetaflowException
from metaflow_core.identity import identity
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.migrate import version
from metaflow_core.names import masked

LOW_SPACE_BYTES = 1_000_000_000
CONTENT = b"written by metaflow doctor, and to be deleted"
ELSEWHERE = "Change to a directory of your own, or set METAFLOW_DATASTORE_SYSROOT_LOCAL."


def configuration() -> Iterator[Finding]:
    """Every value has the right type, and every key is one of ours."""
    errors: dict[str, None] = {}
    for name in settings.SETTINGS:
        try:
            settings.get(name)
        except MetaflowException as error:
            errors[str(error)] = None
    for text in errors:
        yield Finding("problem", text, "Correct the value, or remove it: metaflow configure unset NAME")
    if errors:
        return
    files = settings.config_files()
    known = [setting.variable for setting in settings.SETTINGS.values()]
    for path in files:
        for key in settings.load(path):
            if key not in known:
                close = difflib.get_close_matches(key.upper(), known, 1)
                hint = f"Did you mean {close[0]}?" if close else "Remove it if you do not need it elsewhere."
                yield Finding("warning", f"{path} has a setting that is not known: {key}", hint)
    yield Finding("ok", "Settings: " + (", ".join(files) or "no configuration file"))


def user() -> Iterator[Finding]:
    try:
        yield Finding("ok", f"You are {identity()}")
    except MetaflowException as error:
        yield Finding("problem", str(error), "To set it for good: metaflow configure set USER <your name>")


def found_plugins() -> Iterator[Finding]:
    """Each plugin can be imported and fits the hooks."""
    good = []
    for plugin in all_plugins():
        for problem in plugin.problems:
            text = problem if plugin.hooks else f"can't be loaded: {problem}"
            yield Finding(
                "problem",
                f"The plugin {plugin.name} ({plugin.module}) {'has a problem: ' * bool(plugin.hooks)}{text}",
                f"Repair or uninstall {plugin.distribution}. Flows that do not need it run all the same.",
            )
        if not plugin.problems:
            good.append(plugin.name)
    if good:
        yield Finding("ok", f"Plugins: {', '.join(good)}")
    else:
        yield Finding("problem", "No plugin was found, not even the built-in ones.", "pip install metaflow-tandem")


def database() -> Iterator[Finding]:
    backend = open_backend()
    url = masked(backend.metadata_url)
    if not has_database(backend):
        yield Finding("ok", f"Metadata: {url} (the first run makes it)")
        return
    try:
        db = backend.db
        with db.transaction():
            # A database that can only be read would take no run. To begin a transaction is not enough to find out.
            db.execute("UPDATE flows SET last_run = last_run WHERE pk = -1")
            number = version(db)
        yield Finding("ok", f"Metadata: {url}, schema {number}")
    finally:
        backend.close()


def artifacts() -> Iterator[Finding]:
    """Something can be stored, read and deleted. Nothing is made where there is no store yet."""
    backend = open_backend()
    url = backend.storage_url
    if "://" in url or os.path.isdir(url):
        storage = backend.storage
        key = f"data/doctor-{os.urandom(8).hex()}"
        try:
            storage.put(key, _write)
            same = bytes(storage.read(key)) == CONTENT
        finally:
            storage.delete(key)
            backend.close()
        if not same:
            yield Finding("problem", f"Artifacts: {masked(url)} gives back other bytes than it got.", "Check the disk.")
            return
        yield Finding("ok", f"Artifacts: {masked(url)}")
    else:
        above = _existing(url)
        if not os.access(above, os.W_OK | os.X_OK):
            yield Finding("problem", f"Artifacts: {url} can't be made, {above} is not writable.", ELSEWHERE)
            return
        yield Finding("ok", f"Artifacts: {url} (the first run makes it)")
    yield from _space(url)


def _write(file: IO[bytes]) -> None:
    file.write(CONTENT)


def _space(url: str) -> Iterator[Finding]:
    if "://" in url:
        return
    free = shutil.disk_usage(_existing(url)).free
    if free < LOW_SPACE_BYTES:
        yield Finding("warning", f"Only {free / 1e6:.0f} MB are free where artifacts are kept.", "Free some space.")


def _existing(path: str) -> str:
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
