"""``@secrets``: values that a task gets in its environment, and that nothing else sees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metaflow_core import settings
from metaflow_core.decorators.interface import SecretsProvider, StepDecorator
from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException, PluginError
from metaflow_core.plugins import broken_hint, hook

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef

_PARTS = ("type", "id", "options", "role")


class Source(NamedTuple):
    """One source as the user wrote it. Its options may hold secrets: no message shows them."""

    type: str
    id: str
    options: Mapping[str, Any]
    role: str | None

    def __str__(self) -> str:
        return f"{self.type}.{self.id}" if self.id else self.type


def built_in_providers() -> dict[str, type[SecretsProvider]]:
    """Providers that are always there, by name."""
    from metaflow_core.decorators.secrets_env import EnvProvider
    from metaflow_core.decorators.secrets_file import FileProvider
    from metaflow_core.decorators.secrets_inline import InlineProvider

    return {"env": EnvProvider, "file": FileProvider, "inline": InlineProvider}


def provider_of(name: str) -> SecretsProvider:
    """The provider called ``name``. ``PluginError`` names those there are when it is none of them."""
    built_in = built_in_providers()
    if name in built_in:
        return built_in[name]()
    found: SecretsProvider | None = hook().secrets_provider(name=name)
    if found is None:
        raise PluginError(
            f"There is no provider of secrets {name!r}. Known: {', '.join(provider_names())}. "
            f"Others come with a plugin.{broken_hint()}"
        )
    return found


def provider_names() -> list[str]:
    """The names of all providers there are."""
    return sorted({*built_in_providers(), *(one for names in hook().secrets_provider_names() for one in names)})


class Secrets(StepDecorator):
    """Put secrets into the environment of the task, before the step's code starts.

    A source is ``"provider.name"`` or a dict with ``type``, ``id``, ``options`` and ``role``.
    """

    name = "secrets"
    defaults: ClassVar[Mapping[str, Any]] = {"sources": [], "role": None, "allow_override": False}
    has_secrets = True

    def check(self, flow: FlowDef, step: StepDef) -> None:
        if not isinstance(self.attributes["allow_override"], bool):
            raise self._refuse("allow_override must be true or false.")
        self._role(self.attributes["role"])
        sources = self.sources()
        if not sources:
            raise self._refuse('it needs sources, such as "env.DB_PASSWORD".')
        for source in sources:
            try:
                provider_of(source.type).check(source.id, source.options)
            except (InvalidDecoratorAttribute, PluginError) as error:
                raise type(error)(f"@secrets on {self.where}: {error}") from None

    def sources(self) -> list[Source]:
        """The sources, in the order in which they were given. ``InvalidDecoratorAttribute`` for what is none."""
        given = self.attributes["sources"]
        if isinstance(given, (str, Mapping)):
            given = [given]
        if not isinstance(given, Sequence):
            raise self._refuse(f"sources must be a list of sources, not a value of type {type(given).__name__}.")
        return [self._source(one, number) for number, one in enumerate(given, 1)]

    def secret_arguments(self) -> list[str]:
        return [text for source in self.sources() if source.type == "inline" for text in _texts(source.options)]

    def before(self, state: TaskState) -> None:
        override = self.attributes["allow_override"]
        found: dict[str, str] = {}
        origin: dict[str, Source] = {}
        for source in self.sources():
            values = provider_of(source.type).fetch(source.id, source.options, source.role)
            # Before anything can go wrong, which would be told.
            state.hide([str(value) for value in values.values()])
            for key, value in values.items():
                self._check_variable(source, key, value)
                if not override and key in origin:
                    raise self._conflict(f"both {origin[key]} and {source} give {key}")
                if not override and os.environ.get(key, value) != value:
                    raise self._conflict(f"{source} gives {key}, which the environment of the task has already")
                found[key], origin[key] = value, source
        os.environ.update(found)

    def _source(self, given: object, number: int) -> Source:
        if isinstance(given, str):
            kind, dot, id = given.partition(".")
            usual = settings.get("DEFAULT_SECRETS_BACKEND_TYPE")
            if usual and given and not (id and kind in provider_names()):
                return Source(usual, given, {}, self._role(self.attributes["role"]))
            if not (kind and dot and id):
                raise self._refuse(
                    f'source {number} must have the form "provider.name", as in "env.DB_PASSWORD": '
                    "METAFLOW_DEFAULT_SECRETS_BACKEND_TYPE, which could name the provider, is not set."
                )
            return Source(kind, id, {}, self._role(self.attributes["role"]))
        if not isinstance(given, Mapping):
            raise self._refuse(
                f'source {number} must be text ("provider.name") or a dict with type, id and options, '
                f"not a value of type {type(given).__name__}."
            )
        for key in given:
            if key not in _PARTS:
                raise self._refuse(f"source {number} has no part {key!r}. It may have: {', '.join(_PARTS)}.")
        named = given.get("type", settings.get("DEFAULT_SECRETS_BACKEND_TYPE"))
        place, options = given.get("id"), given.get("options") or {}
        if not isinstance(named, str) or not named:
            raise self._refuse(f"source {number} needs a type, the name of a provider.")
        if not isinstance(place, (str, type(None))):
            raise self._refuse(f"source {number} ({named}): id must be text.")
        if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
            raise self._refuse(f"source {number} ({named}): options must be a dict with names.")
        return Source(named, place or "", options, self._role(given.get("role", self.attributes["role"])))

    def _role(self, role: object) -> str | None:
        if role is None:
            usual: str | None = settings.get("DEFAULT_SECRETS_ROLE")
            return usual
        if isinstance(role, str):
            return role
        raise self._refuse("role must be text.")

    def _check_variable(self, source: Source, key: object, value: object) -> None:
        """A value is never shown, not even one that is wrong."""
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise MetaflowException(f"@secrets on {self.where}: {source} gives {key!r}, which can't name a variable.")
        if not isinstance(value, str) or "\0" in value:
            raise MetaflowException(
                f"@secrets on {self.where}: {source} gives a {key} that is no text, or has a NUL character in it."
            )

    def _refuse(self, why: str) -> InvalidDecoratorAttribute:
        return InvalidDecoratorAttribute(f"@secrets on {self.where}: {why}")

    def _conflict(self, what: str) -> MetaflowException:
        return MetaflowException(
            f"@secrets on {self.where}: {what}. Rename one of them, or set allow_override to take the latter."
        )


def _texts(value: Any) -> list[str]:
    """Every value in a source's options, names left out."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [f"{value:.15g}" if isinstance(value, float) else str(value)]
