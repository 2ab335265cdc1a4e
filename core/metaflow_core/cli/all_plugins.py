"""Every installed plugin: where it comes from, what it implements, and what is wrong with it."""

from __future__ import annotations

import os
from typing import NamedTuple

from metaflow_core import plugins
from metaflow_core.decorators import provided

# Hooks that ask for nothing: what they answer can be checked without a flow.
_ASKED = ("environment_providers", "value_codecs", "secrets_provider_names")


class Shown(NamedTuple):
    """A plugin. ``distribution`` and ``version`` are of the package that has installed it, ``module`` is its code.

    ``hooks`` are the names of those that it implements, none when it can't be loaded. ``problems`` are sentences.
    """

    name: str
    distribution: str
    version: str
    module: str
    hooks: list[str]
    problems: list[str]


def all_plugins() -> list[Shown]:
    """The plugins in the order in which they are asked. Each is loaded; none is told of on standard error."""
    told = os.environ.get(plugins.TOLD)
    os.environ[plugins.TOLD] = plugins.ALL
    try:
        clashes = provided.clashes()
        for hook_name in _ASKED:
            list(plugins.answers(hook_name))
        broken = plugins.broken()
    finally:
        if told is None:
            del os.environ[plugins.TOLD]
        else:
            os.environ[plugins.TOLD] = told
    found = []
    for one in plugins.installed():
        problems = ([broken[one]] if one in broken else []) + clashes.get(one, [])
        found.append(Shown(one.name, one.distribution, one.version, one.module, plugins.hooks_of(one), problems))
    return found
