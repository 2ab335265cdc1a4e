"""``r_packages``: a library of R packages for one step, or for each R step of a flow.

Packages that are installed in a version that fits are used where they are. Others are installed from a repository into
a library of their own. R itself is called only for what needs it: ``Rscript`` reads repositories and installs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from metaflow_core.decorators.interface import Decorator, EnvironmentRequest, FlowDecorator, StepDecorator
from metaflow_core.engine.interface import EnvironmentProvider, Lock
from metaflow_core.errors import InvalidDecoratorAttribute, StepEnvironmentError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.names import show

from metaflow_plugins.r_versions import fits, parse_constraint


class _Packages(Decorator):
    """``packages`` by name with their versions, ``library`` a folder of packages, ``repos`` where others come from."""

    defaults: ClassVar[Mapping[str, Any]] = {"packages": {}, "library": None, "repos": None, "disabled": None}

    def check(self, *_: Any) -> None:
        """Refuse arguments that say nothing sensible, before anything is resolved."""
        self.environment()

    def environment(self) -> EnvironmentRequest:
        packages, library, disabled = self._packages(), self.attributes["library"], self.attributes["disabled"]
        if library is not None and (not isinstance(library, str) or not library):
            raise self._refuse(f"library must be the path of one library, not {show(library)}.")
        if disabled is not None and not isinstance(disabled, bool):
            raise self._refuse(f"disabled must be TRUE or FALSE, not {show(disabled)}.")
        if not packages and library is None and not disabled:
            raise self._refuse('it asks for nothing. Give it packages = c(cli = "3.6"), or library = "path".')
        options = {"library": library and os.path.abspath(os.path.expanduser(library)), "repos": self._repos()}
        given = {name: value for name, value in options.items() if value is not None}
        return EnvironmentRequest("r", packages, None, disabled, given)

    def _packages(self) -> dict[str, str]:
        given = self.attributes["packages"]
        if given is None:
            return {}
        if isinstance(given, str):
            given = [given]
        if isinstance(given, Sequence):  # names alone: any version
            given = dict.fromkeys(given, "")
        if not isinstance(given, Mapping):
            raise self._refuse(f'packages must be names and versions, as in c(cli = "3.6"), not {show(given)}.')
        found: dict[str, str] = {}
        for name, version in given.items():
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]", name):
                raise self._refuse(f"{show(name)} is no name of an R package.")
            if isinstance(version, (int, float)) and not isinstance(version, bool):
                raise self._refuse(f'the version of {name} must be text: "{version:g}", not {version:g}.')
            if not isinstance(version, str) or parse_constraint(version) is None:
                raise self._refuse(f'{show(version)} is no version of {name}. Versions are like "3.6" or ">= 3.6.1".')
            found[name] = version.strip()
        return found

    def _repos(self) -> list[str] | None:
        given = self.attributes["repos"]
        if given is None:
            return None
        if isinstance(given, Mapping):  # R's c(CRAN = "https://...")
            given = list(given.values())
        found = [given] if isinstance(given, str) else given
        if not isinstance(found, Sequence) or not all(isinstance(one, str) and "://" in one for one in found):
            raise self._refuse(f"repos must be addresses such as https://cloud.r-project.org, not {show(given)}.")
        return [one.rstrip("/") for one in found]

    def _refuse(self, why: str) -> InvalidDecoratorAttribute:
        return InvalidDecoratorAttribute(f"@{self.name} on {self.where}: {why}")


class RPackages(_Packages, StepDecorator):
    """Run the step, which is written in R, with these packages."""

    name = "r_packages"


class RPackagesOfFlow(_Packages, FlowDecorator):
    """Run each R step of the flow with these packages; those of a step are added to them."""

    name = "r_packages"


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [RPackages]


@hookimpl
def flow_decorators() -> Sequence[type[FlowDecorator]]:
    return [RPackagesOfFlow]


@hookimpl
def environment_providers() -> Sequence[EnvironmentProvider]:
    return [RLibraries()]


class _Places(NamedTuple):
    """What R knows of packages: its version, where it looks for them, and where it gets them from."""

    version: str
    libraries: list[str]
    repos: list[str]


class RLibraries:
    """Libraries: folders of R packages that are put in front of ``.libPaths()``."""

    name = "r"
    language = "r"

    def flow_request(self, folder: str) -> EnvironmentRequest | None:
        """None: only steps with ``r_packages`` have packages of their own."""
        return None

    def surroundings(self, request: EnvironmentRequest) -> str | None:
        places = _places(request)
        return f"{places} {sorted(_installed(request.packages, places.libraries).items())}"

    def resolve(self, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
        places, library = _places(request), request.options.get("library")
        if library is not None and not os.path.isdir(library):
            raise StepEnvironmentError(f"there is no library {library}.")
        found = _installed(request.packages, places.libraries)
        absent = {
            name: version
            for name, version in request.packages.items()
            if name not in found or not fits(found[name], version)
        }
        options: dict[str, Any] = {"libraries": [library] if library is not None else []}
        if not absent:
            packages = {**_in_library(library), **found}
            return Lock(self.name, places.version, _rscript(), packages, options, is_present=True)
        if not places.repos:
            raise StepEnvironmentError(
                f"{_unmet(absent, found)}. There is no repository to install from: say repos = "
                f'"https://cloud.r-project.org", or options(repos = ...).'
            )
        from metaflow_plugins.r_repository import choose

        chosen = choose(_rscript(), places.libraries, places.repos, absent)
        options["install"] = [list(one) for one in chosen]
        packages = {**_in_library(library), **found, **{one.name: one.version for one in chosen}}
        return Lock(self.name, places.version, _rscript(), packages, options)

    def create(self, lock: Lock, folder: str, held: int) -> None:
        from metaflow_plugins.r_repository import Source, install

        sources = [Source(*one) for one in lock.options["install"]]
        install(lock.interpreter, sources, folder, lock.options["libraries"], held)

    def is_usable(self, lock: Lock, folder: str) -> bool:
        names = [one[0] for one in lock.options["install"]]
        return all(os.path.exists(os.path.join(folder, name, "DESCRIPTION")) for name in names)

    def interpreter(self, folder: str) -> str | None:
        """None: a library serves any R of this version."""
        return None

    def libraries(self, lock: Lock, folder: str) -> list[str]:
        return [*([folder] if folder else []), *lock.options["libraries"]]

    def variables(self, lock: Lock, folder: str) -> Mapping[str, str]:
        folders = [*self.libraries(lock, folder), os.environ.get("R_LIBS", "")]
        return {"R_LIBS": os.pathsep.join(filter(None, folders))}


def _unmet(absent: Mapping[str, str], found: Mapping[str, str]) -> str:
    texts = []
    for name, version in absent.items():
        have = f"version {found[name]} is installed" if name in found else "it is not installed"
        texts.append(f"it asks for {name}{f' {version}' if version else ''}, and {have}")
    return "; ".join(texts)


def _places(request: EnvironmentRequest) -> _Places:
    known = _of_session() or _of_program()
    library = request.options.get("library")
    libraries = [library, *known.libraries] if library is not None else known.libraries
    return _Places(known.version, libraries, request.options.get("repos") or known.repos)


def _of_session() -> _Places | None:
    """What the R knows that runs in this process: a script can have changed it."""
    session = sys.modules.get("metaflow_r.session")
    if session is None or not session.loaded():
        return None
    libraries, repos, version = (list(part) for part in session.helper("package_places")())
    return _Places(version[0], libraries, [one.rstrip("/") for one in repos])


def _of_program() -> _Places:
    from metaflow_plugins.r_repository import run_r

    code = 'r <- getOption("repos"); cat(as.character(getRversion()), "\\n", sep = "")\n'
    code += 'cat("L", .libPaths(), sep = "\\t"); cat("\\n"); cat("R", r[r != "@CRAN@"], sep = "\\t"); cat("\\n")'
    version, libraries, repos = run_r(_rscript(), code).splitlines()[:3]
    return _Places(version, libraries.split("\t")[1:], [one.rstrip("/") for one in repos.split("\t")[1:] if one])


def _rscript() -> str:
    import shutil

    home = os.environ.get("R_HOME")
    path = os.path.join(home, "bin", "Rscript") if home else shutil.which("Rscript")
    if path is None or not os.path.exists(path):
        raise StepEnvironmentError("there is no R on this machine: Rscript is not on PATH.")
    return path


def _installed(names: Mapping[str, str], libraries: Sequence[str]) -> dict[str, str]:
    """The versions that R would load: those in the first library that has the package."""
    versions = {name: installed_version(name, libraries) for name in names}
    return {name: version for name, version in versions.items() if version is not None}


def installed_version(name: str, libraries: Sequence[str]) -> str | None:
    """The version of a package in the first library that has it."""
    return next((version for library in libraries if (version := _version(library, name)) is not None), None)


def _in_library(library: str | None) -> dict[str, str]:
    """All packages of a library."""
    if library is None:
        return {}
    versions = {name: _version(library, name) for name in sorted(os.listdir(library))}
    return {name: version for name, version in versions.items() if version is not None}


def _version(library: str, name: str) -> str | None:
    try:
        with open(os.path.join(library, name, "DESCRIPTION"), encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("Version:"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return None
