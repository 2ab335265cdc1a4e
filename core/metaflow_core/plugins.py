"""Finds plugins and calls their hooks."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pluggy

from metaflow_core import hookspecs
from metaflow_core.errors import PluginError

GROUP = "metaflow_tandem.plugins"


@cache
def manager() -> pluggy.PluginManager:
    """The plugin manager, with every installed plugin registered."""
    pm = pluggy.PluginManager("metaflow_tandem")
    pm.add_hookspecs(hookspecs)
    for name, module in sorted(set(entry_points())):
        try:
            plugin = importlib.import_module(module)
        except Exception as error:
            raise PluginError(
                f"The plugin {name!r} ({module}) can't be imported: {type(error).__name__}: {error}. "
                f"Repair or uninstall the package that provides it."
            ) from error
        pm.register(plugin, name=name)
    return pm


def hook() -> Any:
    """The hooks, ready to be called: ``hook().open_storage(url=...)``."""
    return manager().hook


def installed_records() -> Iterator[tuple[str, str]]:
    """Folder and name (``package-1.0.dist-info``) of each installed distribution's record.

    Listing them is enough: importing ``importlib.metadata`` takes longer than a small run.
    The format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield folder, name


def entry_points() -> Iterator[tuple[str, str]]:
    """Name and module of each installed plugin.

    The format: https://packaging.python.org/en/latest/specifications/entry-points/
    """
    for folder, name in installed_records():
        yield from _read(os.path.join(folder, name, "entry_points.txt"))


def _read(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    if GROUP not in text:
        return
    section = ""
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == GROUP and "=" in line:
            name, module = line.split("=", 1)
            yield name.strip(), module.strip()
