"""What decorators that ask for Python packages have in common: their arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from metaflow_core.decorators.interface import Decorator, EnvironmentRequest, FlowDecorator, StepDecorator
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import show

_ONE = r"(?:[<>=!~]=?=?)?\s*[A-Za-z0-9][A-Za-z0-9.*+!_=-]*"
_VERSION = rf"|\*|(?:{_ONE})(?:\s*,\s*{_ONE})*|@\s*\S+|\S+://\S+"  # 2.2.3, >=2,<3, an address, or nothing for any

_DEFAULTS: Mapping[str, Any] = {"packages": {}, "python": None, "disabled": None}


class PythonPackages(Decorator):
    """``packages`` by name with their versions, ``python`` the version of the interpreter."""

    defaults: ClassVar[Mapping[str, Any]] = _DEFAULTS
    provider: ClassVar[str]
    # A name as the provider knows it, with extras or a channel; the normalised part is the first group.
    package_name: ClassVar[str] = r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9,._ -]+\])?"

    def check(self, *_: Any) -> None:
        """Refuse arguments that say nothing sensible, before anything is resolved."""
        self.environment()

    def environment(self) -> EnvironmentRequest:
        disabled = self.attributes["disabled"]
        if disabled is not None and not isinstance(disabled, bool):
            raise self._refuse(f"disabled must be True or False, not {show(disabled)}.")
        return EnvironmentRequest(self.provider, self._packages("packages"), self._python(), disabled)

    def _packages(self, argument: str) -> dict[str, str]:
        given = self.attributes[argument]
        if given is None or given == []:  # R's empty list
            return {}
        if not isinstance(given, Mapping):
            raise self._refuse(
                f'{argument} must be a dict of names and versions, as in {{"pandas": "2.2.3"}}, not {show(given)}.'
            )
        found: dict[str, str] = {}
        for name, version in given.items():
            if not isinstance(name, str) or not re.fullmatch(self.package_name, name):
                raise self._refuse(f"{show(name)} is no name of a package.")
            if version is None:
                version = ""
            if isinstance(version, (int, float)) and not isinstance(version, bool):
                raise self._refuse(f'the version of {name} must be text: "{version}", not {version}.')
            if not isinstance(version, str) or not re.fullmatch(_VERSION, version.strip()):
                raise self._refuse(f"{show(version)} is no version of {name}.")
            found[name] = version.strip()
        return found

    def _python(self) -> str | None:
        python = self.attributes["python"]
        if python is None:
            return None
        if not isinstance(python, str) or not python.strip() or python.startswith("-"):
            raise self._refuse(f'python must be a version as text, as in "3.11", not {show(python)}.')
        return python.strip()

    def _refuse(self, why: str) -> InvalidDecoratorAttribute:
        return InvalidDecoratorAttribute(f"@{self.name} on {self.where}: {why}")


class StepPackages(PythonPackages, StepDecorator):
    """Packages of one step."""


class FlowPackages(PythonPackages, FlowDecorator):
    """Packages of each step of a flow."""


def requirement(name: str, version: str) -> str:
    """A package and its version as pip spells it.

    >>> requirement("pandas", "2.2.3"), requirement("pandas", ">=2,<3"), requirement("six", "")
    ('pandas==2.2.3', 'pandas>=2,<3', 'six')
    >>> requirement("mine", "git+https://example.org/mine.git")
    'mine @ git+https://example.org/mine.git'
    """
    if not version or version == "*":
        return name
    if version.startswith("@"):
        return f"{name} {version}"
    if "://" in version:
        return f"{name} @ {version}"
    return f"{name}{version}" if version[0] in "<>=!~" else f"{name}=={version}"
