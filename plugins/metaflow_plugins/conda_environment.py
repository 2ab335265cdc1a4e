"""``@conda`` and ``@conda_base``: packages of conda, resolved and installed by micromamba, mamba or conda.

The commands: https://mamba.readthedocs.io/en/latest/user_guide/micromamba.html
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from metaflow_core.decorators.interface import EnvironmentRequest, FlowDecorator, StepDecorator
from metaflow_core.engine.interface import EnvironmentProvider, Lock
from metaflow_core.errors import StepEnvironmentError
from metaflow_core.hookspecs import hookimpl

from metaflow_plugins.python_packages import FlowPackages, PythonPackages, StepPackages

TOOLS = ("micromamba", "mamba", "conda")


class _Conda(PythonPackages):
    """``libraries`` is the older name of ``packages``. A name may have a channel: ``conda-forge::gdal``."""

    defaults: ClassVar[Mapping[str, Any]] = {**PythonPackages.defaults, "libraries": {}}
    provider = "conda"
    package_name = r"(?:[A-Za-z0-9._/-]+::)?([A-Za-z0-9_][A-Za-z0-9._-]*)"

    def environment(self) -> EnvironmentRequest:
        request = super().environment()
        return request._replace(packages={**self._packages("libraries"), **request.packages})


class Conda(_Conda, StepPackages):
    """Run the step with packages of conda, in a Python of its own."""

    name = "conda"


class CondaBase(_Conda, FlowPackages):
    """Run each Python step with packages of conda; ``@conda`` on a step adds to them."""

    name = "conda_base"


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Conda]


@hookimpl
def flow_decorators() -> Sequence[type[FlowDecorator]]:
    return [CondaBase]


@hookimpl
def environment_providers() -> Sequence[EnvironmentProvider]:
    return [CondaEnvironments()]


class CondaEnvironments:
    """Environments of conda, made from an explicit list of packages that was solved once."""

    name = "conda"
    language = "python"

    def flow_request(self, folder: str) -> EnvironmentRequest | None:
        """None: only steps with ``@conda`` have packages of their own."""
        return None

    def surroundings(self, request: EnvironmentRequest) -> str | None:
        channels = [os.environ.get(name, "") for name in ("CONDA_CHANNELS", "CONDARC", "MAMBARC", "CONDA_SUBDIR")]
        return f"{find_tool()} {sys.version_info[:2]} {channels}"

    def resolve(self, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
        python = request.python or f"{sys.version_info[0]}.{sys.version_info[1]}"
        specs = [specification("python", python), *(_of_pip(need, python) for need in needs)]
        specs += [specification(name, version) for name, version in request.packages.items()]
        tool = find_tool()
        nowhere = os.path.join(os.path.expanduser("~"), f".metaflow-not-created-{os.getpid()}")
        channels = _channels()
        solved = _run(
            tool, ["create", "--yes", "--dry-run", "--json", "--prefix", nowhere, *channels, *filter(None, specs)]
        )
        try:
            links = solved["actions"]["LINK"]
            packages = {one["name"]: f"{one['version']}={one.get('build_string') or one['build']}" for one in links}
            urls = [_url(one) for one in links]
            version = packages["python"].partition("=")[0]
        except (KeyError, TypeError):
            raise StepEnvironmentError(f"{tool} did not say which packages it would install.") from None
        return Lock(self.name, version, tool, packages, {"urls": urls})

    def create(self, lock: Lock, folder: str, held: int) -> None:
        listed = f"{folder}.txt"
        with open(listed, "w", encoding="utf-8") as file:
            file.write("\n".join(["@EXPLICIT", *lock.options["urls"], ""]))
        try:
            _run(lock.interpreter, ["create", "--yes", "--json", "--prefix", folder, "--file", listed], held)
        finally:
            os.remove(listed)

    def is_usable(self, lock: Lock, folder: str) -> bool:
        return os.path.exists(self.interpreter(folder))

    def interpreter(self, folder: str) -> str:
        return os.path.join(folder, "bin", "python")

    def libraries(self, lock: Lock, folder: str) -> list[str]:
        """None: the interpreter finds its packages."""
        return []

    def variables(self, lock: Lock, folder: str) -> Mapping[str, str]:
        from metaflow_plugins.python_interpreter import library_path

        return {"CONDA_PREFIX": folder, **library_path()}


def find_tool() -> str:
    """The first of micromamba, mamba and conda that is on PATH."""
    for name in TOOLS:
        found = shutil.which(name)
        if found is not None:
            return os.path.abspath(found)
    raise StepEnvironmentError(
        "packages of conda are installed by micromamba, mamba or conda, and none of them is on PATH. "
        "Install one, such as micromamba, or ask for packages of PyPI: @pypi"
    )


def specification(name: str, version: str) -> str:
    """A package and its version as conda spells it.

    >>> specification("pandas", "2.2.3"), specification("python", "3.11"), specification("gdal", ">=3.8,<4")
    ('pandas=2.2.3', 'python=3.11', 'gdal>=3.8,<4')
    """
    if not version or version == "*":
        return name
    return f"{name}{version}" if version[0] in "<>=!~" else f"{name}={version}"


def _of_pip(requirement: str, python: str) -> str:
    """One of our own requirements; "" for one that this Python does not need."""
    wanted, _, marker = requirement.partition(";")
    older = re.search(r"python_version\s*<\s*['\"]3\.(\d+)", marker)
    version = re.match(r"3\.(\d+)", python)
    if older is not None and (version is None or int(version[1]) >= int(older[1])):
        return ""
    return re.sub(r"\[.*?\]", "", wanted).strip()


def _channels() -> list[str]:
    """conda-forge where the user has configured no channels: ours are all there."""
    if os.environ.get("CONDA_CHANNELS") or os.environ.get("CONDARC"):
        return []
    return ["--channel", "conda-forge"]


def _url(link: Mapping[str, Any]) -> str:
    url = link.get("url") or f"{link['base_url']}/{link['platform']}/{link['dist_name']}.conda"
    return f"{url}#{link['md5']}" if link.get("md5") else url


def _run(tool: str, arguments: Sequence[str], held: int | None = None) -> Any:
    """What the tool answers, as data."""
    import json
    import subprocess

    try:
        done = subprocess.run(
            [tool, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            pass_fds=[] if held is None else [held],
            check=False,
        )
    except OSError as error:
        raise StepEnvironmentError(f"{tool} can't be started: {error.strerror}.") from None
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
    except ValueError:
        answer = {}
    if done.returncode or (isinstance(answer, dict) and answer.get("success") is False):
        said = answer.get("message") or "; ".join(answer.get("solver_problems", [])) or done.stderr or done.stdout
        raise StepEnvironmentError(
            f"its packages can't be had. {os.path.basename(tool)}: {' '.join(str(said).split())}"
        )
    return answer
