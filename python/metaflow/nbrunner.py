"""Runs, or deploys, a flow that is defined in a cell of a notebook: ``NBRunner(TrainFlow).nbrun(alpha=0.5)``."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow_core.errors import CommandException
from metaflow_core.names import show
from metaflow_core.results import Run

from metaflow.deployer import Deployer
from metaflow.notebook_cell import source_of_cell
from metaflow.runner import Runner


class NBRunner(Runner):
    """Runs a flow from the notebook in which it is defined, in a process of its own.

    The cell with the class is written to a hidden file in ``base_dir`` (by default the working directory), which is
    where the flow runs; :meth:`cleanup` removes it. Imports, functions, classes and assignments of the cell are taken
    over, so everything that the flow needs stands in its cell; magics and statements that use ``NBRunner`` are left
    out. Other arguments are those of ``Runner``. ``CommandException`` outside of a notebook, for a class that is no
    flow, and when its cell can't be found or uses names of other cells.

        runner = NBRunner(TrainFlow)
        run = runner.nbrun(alpha=0.5, tags=["nightly"])
        run.data.accuracy
    """

    def __init__(
        self,
        flow: type,
        show_output: bool = True,
        profile: str | None = None,
        env: Mapping[str, str] | None = None,
        base_dir: str | os.PathLike[str] | None = None,
        file_read_timeout: float = 3600,
        **options: Any,
    ) -> None:
        file = file_of_cell(flow, base_dir, "NBRunner", "Runner")
        self._remove = weakref.finalize(self, _remove, file)
        super().__init__(file, show_output, profile, env, os.path.dirname(file), file_read_timeout, **options)

    def nbrun(self, **arguments: Any) -> Run:
        """Run the flow to its end and return the run. Arguments as those of ``Runner.run``."""
        with self.run(**arguments) as executing:
            return executing.run

    def nbresume(self, step_to_rerun: str | None = None, **arguments: Any) -> Run:
        """Resume a run and return the new one. Arguments as those of ``Runner.resume``."""
        with self.resume(step_to_rerun, **arguments) as executing:
            return executing.run

    def cleanup(self) -> None:
        """Stop what still runs, and remove the logs and the file with the flow."""
        super().cleanup()
        self._remove()


class NBDeployer(Deployer):
    """Deploys a flow from the notebook in which it is defined.

    The flow's cell is written to a file as ``NBRunner`` does it; other arguments are those of ``Deployer``.

        deployer = NBDeployer(TrainFlow)
        deployed = deployer.airflow().create()
        deployer.cleanup()
    """

    def __init__(
        self,
        flow: type,
        show_output: bool = True,
        profile: str | None = None,
        env: Mapping[str, str] | None = None,
        base_dir: str | os.PathLike[str] | None = None,
        file_read_timeout: float = 3600,
        **options: Any,
    ) -> None:
        file = file_of_cell(flow, base_dir, "NBDeployer", "Deployer")
        self._remove = weakref.finalize(self, _remove, file)
        super().__init__(file, show_output, profile, env, os.path.dirname(file), file_read_timeout, **options)

    def cleanup(self) -> None:
        """Remove the file with the flow. What is deployed stays."""
        super().cleanup()
        self._remove()


def file_of_cell(flow: type, base_dir: str | os.PathLike[str] | None, name: str, of_files: str) -> str:
    """The file made of the cell that defines the flow, for the class ``name``; ``of_files`` is for flows in files."""
    from metaflow.flowspec import FlowSpec

    if not (isinstance(flow, type) and issubclass(flow, FlowSpec) and flow is not FlowSpec):
        raise CommandException(f"{name} takes a flow's class, such as {name}(TrainFlow), not {show(flow)}.")
    cells, variables = _notebook(flow, name, of_files)
    text = source_of_cell(flow.__name__, cells, variables)
    folder = os.path.abspath(base_dir or os.getcwd())
    if not os.path.isdir(folder):
        raise CommandException(f"There is no folder {show(os.fspath(base_dir or folder))} to run the flow in.")
    text = f"{text.rstrip()}\n\n\nif __name__ == '__main__':\n    {flow.__name__}()\n"
    return _write(folder, flow.__name__, text)


def _notebook(flow: type, name: str, of_files: str) -> tuple[Sequence[str], Mapping[str, Any]]:
    """The cells that were run, magics being calls, and the variables that the notebook has."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        raise CommandException(
            f"{name} takes flows that are defined in a notebook, and this is none. "
            f'For a flow in a file there is {of_files}("flow.py").'
        )
    module = flow.__module__
    if module != "__main__":
        file = getattr(sys.modules.get(module), "__file__", None)
        raise CommandException(
            f"{flow.__name__} comes from the module {module}, not from a cell of this notebook. "
            f"Use its file: {of_files}({file or 'flow.py'!r})."
        )
    names = shell.user_ns
    return names.get("In", []), {name: value for name, value in names.items() if name not in shell.user_ns_hidden}


def _write(folder: str, name: str, text: str) -> str:
    """The file made: of the same name each time, where it is free, so that two runs can be compared."""
    number = 1
    while True:
        file = os.path.join(folder, f".{name}.py" if number == 1 else f".{name}-{number}.py")
        try:
            with open(file, "x", encoding="utf-8") as opened:
                opened.write(text)
            return file
        except FileExistsError:
            number += 1
        except OSError as error:
            raise CommandException(f"The flow {name} can't be written to {folder}: {error.strerror}.") from None


def _remove(file: str) -> None:
    if os.path.exists(file):
        os.remove(file)
