"""What R's `deployer()` starts: commands that deploy, and commands about what is deployed. Each is a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from metaflow_r.runner import _numbers, _running
from metaflow_r.text import strings, text


def _orchestrators() -> Any:
    """The orchestrators that are there, by the names that R gives them."""
    from metaflow_core.cli.arguments import orchestrators

    return _named(orchestrators())


def _variables(metadata: Any, datastore: Any, root: Any) -> Any:
    """The environment variables for options that stand before the command."""
    from metaflow_core.metadata.backend import store_variables

    found = store_variables(text(datastore) or None, text(root) or None)
    if text(metadata) not in ("", "local"):
        found["METAFLOW_METADATA_URL"] = text(metadata)
    return _named(found)


def _start(
    file: Any, rscript: Any, cwd: Any, before: Any, words: Any, answers: Any, variables: Any, values: Any
) -> Any:
    """Start a command of a flow file, or without one a command of `metaflow deployments`. The number of the process."""
    from metaflow.deployer import _Command, _Place
    from metaflow.runner import FlowFile
    from rpy2.rinterface import NULL, IntSexpVector

    class OfR(FlowFile):
        def _program(self) -> list[str]:
            in_r = self.flow_file.lower().endswith(".r")
            return [*([text(rscript), self.flow_file] if in_r else super()._program()), *strings(before)]

    place = _Place(cwd=text(cwd), show_output=False) if file is NULL else OfR(text(file), False, cwd=text(cwd))
    place.env = dict(zip(strings(variables), strings(values), strict=True))  # Python's own may be older
    number = next(_numbers)
    _running[number] = _Command(place, strings(words), "file" if answers[0] else None)
    return IntSexpVector([number])


def _answer(number: Any) -> Any:
    """What the command, which has ended, tells: JSON, one text each. Its error, when it has failed."""
    from rpy2.rinterface import StrSexpVector

    command = _running.pop(int(number[0]))
    command._check_begun()
    told = [command.answer()] if command._answers else command.stdout.splitlines()
    command.cleanup()
    return StrSexpVector(told)


def _read(answer: Any) -> Any:
    """JSON as R has it."""
    from metaflow_r.read import to_r

    return to_r(json.loads(text(answer)))


def _named(found: dict[str, str]) -> Any:
    from rpy2.rinterface import StrSexpVector

    from metaflow_r.sexp import set_attribute

    return set_attribute(StrSexpVector(list(found.values())), "names", StrSexpVector(list(found)))


FOR_R: dict[str, Callable[..., Any]] = {
    "orchestrators": _orchestrators,
    "deployer_variables": _variables,
    "deployer_start": _start,
    "deployer_answer": _answer,
    "deployer_read": _read,
}
