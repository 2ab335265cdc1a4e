"""``@pypi``, ``@pypi_base`` and ``--environment=uv``: packages of PyPI, resolved and installed by uv."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from metaflow_core.decorators.interface import EnvironmentRequest, FlowDecorator, StepDecorator
from metaflow_core.engine.interface import EnvironmentProvider, Lock
from metaflow_core.errors import StepEnvironmentError
from metaflow_core.hookspecs import hookimpl

from metaflow_plugins.python_packages import FlowPackages, StepPackages, requirement

if TYPE_CHECKING:
    from metaflow_plugins.python_interpreter import Interpreter


class Pypi(StepPackages):
    """Run the step with packages of PyPI, in a Python of its own."""

    name = "pypi"
    provider = "pypi"


class PypiBase(FlowPackages):
    """Run each Python step with packages of PyPI; ``@pypi`` on a step adds to them."""

    name = "pypi_base"
    provider = "pypi"


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Pypi]


@hookimpl
def flow_decorators() -> Sequence[type[FlowDecorator]]:
    return [PypiBase]


@hookimpl
def environment_providers() -> Sequence[EnvironmentProvider]:
    return [PypiEnvironments(), UvEnvironments()]


class PypiEnvironments:
    """Virtual environments. Versions are chosen by ``uv pip compile``."""

    name = "pypi"
    language = "python"

    def flow_request(self, folder: str) -> EnvironmentRequest | None:
        """None: only steps with ``@pypi`` have packages of their own."""
        return None

    def surroundings(self, request: EnvironmentRequest) -> str | None:
        from metaflow_plugins.python_interpreter import this_interpreter
        from metaflow_plugins.uv_tool import resolution_settings

        return f"{this_interpreter().path} {resolution_settings()}"

    def resolve(self, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
        from metaflow_plugins import uv_tool
        from metaflow_plugins.python_interpreter import find_interpreter

        python = find_interpreter(request.python)
        wanted = [requirement(name, version) for name, version in request.packages.items()]
        return self._locked(python, uv_tool.compile_requirements([*needs, *wanted], python.path, needs))

    def _locked(self, python: Interpreter, packages: dict[str, str]) -> Lock:
        from metaflow_plugins.uv_tool import index_settings

        # The same version may be something else in another index.
        return Lock("pypi", python.version, python.path, packages, {"index": index_settings(shown=True)})

    def create(self, lock: Lock, folder: str, held: int) -> None:
        from metaflow_plugins import uv_tool

        uv_tool.create(lock.interpreter, folder, [requirement(*one) for one in lock.packages.items()], held)

    def is_usable(self, lock: Lock, folder: str) -> bool:
        return os.path.exists(self.interpreter(folder))  # a link to an interpreter that is gone does not exist

    def interpreter(self, folder: str) -> str:
        return os.path.join(folder, "bin", "python")

    def libraries(self, lock: Lock, folder: str) -> list[str]:
        """None: the interpreter finds its packages."""
        return []

    def variables(self, lock: Lock, folder: str) -> Mapping[str, str]:
        from metaflow_plugins.python_interpreter import library_path

        return library_path()


class UvEnvironments(PypiEnvironments):
    """The packages of a project that uv manages, as its ``uv.lock`` says."""

    name = "uv"

    def flow_request(self, folder: str) -> EnvironmentRequest | None:
        """The nearest project from the flow's folder upward."""
        place = folder
        while not os.path.isfile(os.path.join(place, "pyproject.toml")):
            place, below = os.path.dirname(place), place
            if place == below:
                raise StepEnvironmentError(
                    f"--environment=uv uses the packages of a project, and there is no pyproject.toml in {folder} or "
                    f"above. Make one: uv init --bare; uv add pandas"
                )
        if not os.path.isfile(os.path.join(place, "uv.lock")):
            raise StepEnvironmentError(f"--environment=uv: the project {place} has no uv.lock. Make it: uv lock")
        return EnvironmentRequest(self.name, {}, options={"project": place})

    def surroundings(self, request: EnvironmentRequest) -> str | None:
        import hashlib

        hashes = []
        for name in ("uv.lock", "pyproject.toml"):
            with open(os.path.join(request.options["project"], name), "rb") as file:
                hashes.append(hashlib.sha256(file.read()).hexdigest())
        return f"{super().surroundings(request)} {hashes}"

    def resolve(self, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
        from metaflow_plugins import uv_tool
        from metaflow_plugins.python_interpreter import find_interpreter

        project = request.options["project"]
        python = find_interpreter(uv_tool.python_of_project(project))
        wanted = uv_tool.export(project)
        return self._locked(python, uv_tool.compile_requirements([*needs, *wanted], python.path, needs))
