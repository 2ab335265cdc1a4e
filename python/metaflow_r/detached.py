"""The Python steps of an R flow in a Python without R: the flow is handed over as data.

The data is in an unnamed file that the started program inherits, because arguments of decorators may be secrets.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import IO, Any, NoReturn

from metaflow_core.errors import StepEnvironmentError
from metaflow_core.graph.model import FlowDef, StepDef

_kept: list[IO[bytes]] = []  # open as long as tasks may be started


def start(flow: FlowDef) -> list[str]:
    """What starts the flow in another Python, by :func:`main`."""
    import pickle
    import tempfile

    data = replace(
        flow,
        steps={step.name: _plain(step) for step in flow},
        decorators=[],
        mutators=[],
        config_values={},
        parameters=[replace(one, default=None) for one in flow.parameters],
        configs=[replace(one, default=None, default_value=None, parser=None) for one in flow.configs],
    )
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(pickle.dumps(data))
    file.flush()
    os.set_inheritable(file.fileno(), True)
    _kept[:] = [file]
    return ["-m", "metaflow_r.detached", str(file.fileno())]


def _plain(step: StepDef) -> StepDef:
    if step.language != "python":
        return replace(step, body=None, decorators=[])
    for decorator in step.decorators:
        if decorator.code is not None:
            raise StepEnvironmentError(
                f"Step {step.name} has Python packages of its own, and the decorator @{decorator.name} has its code in "
                f"this program. Remove one of them."
            )
    return replace(step, body=step.body._metaflow_place)


def main() -> NoReturn:
    """Carry out a command of the flow that :func:`start` has handed over."""
    import pickle

    from metaflow_core.cli.flow import main as execute

    from metaflow_r.functions import flow_class

    file = int(sys.argv[1])
    parts: list[bytes] = []
    while part := os.pread(file, 1 << 20, sum(map(len, parts))):  # at its place: other tasks read the same file
        parts.append(part)
    flow: Any = pickle.loads(b"".join(parts))
    for step in flow:
        if step.language == "python":
            step.body = flow_class(step, *step.body)
    execute(flow, [sys.executable, "-m", "metaflow_r.detached", sys.argv[1]], sys.argv[2:])


if __name__ == "__main__":
    main()
