"""Flow files that R runs by `runner()`: each in a process of its own, which R follows, so that its console shows it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from metaflow_r.text import strings, text

_running: dict[int, Any] = {}
_numbers = itertools.count(1)


def _start(file: Any, rscript: Any, cwd: Any, before: Any, words: Any, after: Any, variables: Any, values: Any) -> Any:
    """Start a command of a flow file, given its words before and after the command. The number of the process."""
    from metaflow.runner import ExecutingRun, ExecutingTask, Runner
    from rpy2.rinterface import IntSexpVector

    class OfR(Runner):
        def _command(self, command: list[str], arguments: Any) -> list[str]:
            in_r = self.flow_file.lower().endswith(".r")
            program = [text(rscript), self.flow_file] if in_r else super()._program()
            return [*program, *strings(before), *command, *strings(after)]

    runner = OfR(text(file), show_output=False, cwd=text(cwd))
    runner.env = dict(zip(strings(variables), strings(values), strict=True))  # Python's own may be older
    command = strings(words)
    number = next(_numbers)
    _running[number] = (ExecutingTask if command[0] == "spin" else ExecutingRun)(runner, command, {})
    return IntSexpVector([number])


def _facts(number: Any) -> Any:
    """What is known of it now. ``MetaflowUsageError`` when it was not begun."""
    from metaflow.runner import ExecutingRun

    from metaflow_r.client_values import to_r

    executing = _running[int(number[0])]
    code = executing.returncode
    if code is not None:
        executing._check_begun()
    facts = executing._facts() if isinstance(executing, ExecutingRun) else {}
    return to_r(
        {
            "pathspec": f"{facts['flow_name']}/{facts['run_id']}" if facts else "",
            "returncode": code,
        }
    )


def _read(number: Any, stream: Any, position: Any) -> Any:
    """What came after a position, in whole lines unless nothing follows; the new position, and whether it has ended."""
    from rpy2.rinterface import BoolSexpVector, FloatSexpVector, ListSexpVector

    from metaflow_r.client_values import texts

    executing = _running[int(number[0])]
    ended = executing.returncode is not None  # asked first: what it wrote before its end may not be lost
    with open(executing._folder / text(stream), "rb") as log:
        log.seek(int(position[0]))
        found = log.read()
    if not ended:
        found = found[: found.rfind(b"\n") + 1]
    place = FloatSexpVector([position[0] + len(found)])
    return ListSexpVector([texts([found.decode(errors="replace")]), place, BoolSexpVector([ended])])


def _task(number: Any) -> Any:
    """The task of a step that was tried: its pathspec, and the scope that finds it."""
    from rpy2.rinterface import StrSexpVector

    from metaflow_r.client import scope_texts
    from metaflow_r.sexp import named_list

    task = _running[int(number[0])].task
    return named_list({"pathspec": StrSexpVector([task.pathspec]), "scope": scope_texts(task._scope)})


def _kill(number: Any) -> None:
    """Stop it if it still runs."""
    _running[int(number[0])].kill()


def _close(number: Any) -> None:
    """Stop it if it still runs, and remove its logs. Nothing happens the second time."""
    executing = _running.pop(int(number[0]), None)
    if executing is not None:
        executing.cleanup()


FOR_R: dict[str, Callable[..., Any]] = {
    "runner_start": _start,
    "runner_facts": _facts,
    "runner_read": _read,
    "runner_task": _task,
    "runner_kill": _kill,
    "runner_close": _close,
}
