"""Secrets that are variables of the environment in which the run was started."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException

_OPTIONS = ("names", "prefix", "mapping")


class EnvProvider:
    """``"env.DB_PASSWORD"``, or a dict whose options name the variables.

    ``names`` is a list, ``prefix`` takes all variables that begin with it, and ``mapping`` gives each a new name:
    ``{"PGPASSWORD": "DB_PASSWORD"}``.
    """

    def check(self, id: str, options: Mapping[str, Any]) -> None:
        for key in options:
            if key not in _OPTIONS:
                raise InvalidDecoratorAttribute(
                    f"a source of the type env does not take the option {key!r}. Its options: {', '.join(_OPTIONS)}."
                )
        names, prefix, mapping = (options.get(key) for key in _OPTIONS)
        if not isinstance(names, (str, Sequence, type(None))) or not all(isinstance(one, str) for one in names or ()):
            raise InvalidDecoratorAttribute("the option names of a source of the type env must be a list of variables.")
        if not isinstance(prefix, (str, type(None))):
            raise InvalidDecoratorAttribute("the option prefix of a source of the type env must be text.")
        if not isinstance(mapping, (Mapping, type(None))) or not all(
            isinstance(one, str) for pair in (mapping or {}).items() for one in pair
        ):
            raise InvalidDecoratorAttribute(
                "the option mapping of a source of the type env must be a dict: "
                "names in the task, and the variables they get their values from."
            )
        if not (id or names or prefix or mapping):
            raise InvalidDecoratorAttribute('a source of the type env must name a variable, as in "env.DB_PASSWORD".')

    def fetch(self, id: str, options: Mapping[str, Any], role: str | None) -> Mapping[str, str]:
        names = options.get("names") or []
        wanted = {name: name for name in ([id] if id else []) + ([names] if isinstance(names, str) else list(names))}
        wanted.update(options.get("mapping") or {})
        prefix = options.get("prefix")
        if prefix:
            found = {name: name for name in os.environ if name.startswith(prefix)}
            if not found:
                raise MetaflowException(f"No environment variable begins with {prefix}, which @secrets asks for.")
            wanted.update(found)
        missing = sorted(name for name in wanted.values() if name not in os.environ)
        if missing:
            raise MetaflowException(
                f"@secrets asks for environment variables that are not set: {', '.join(missing)}. "
                f"Set them where the run is started."
            )
        return {name: os.environ[variable] for name, variable in wanted.items()}
