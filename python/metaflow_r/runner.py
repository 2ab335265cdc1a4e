"""Flow files that R runs by `runner()`: each in a process of its own, which R follows, so that its console shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metaflow_r.text import strings, text

_running: dict[int, _Followed] = {}


class _Followed:
    """A run, and how much of its output R has shown."""

    def __init__(self, executing: Any) -> None:
        self.executing = executing
        self.shown = {"stdout": 0, "stderr": 0}

    def news(self, stream: str, ended: bool) -> str:
        """What came since the last call, in whole lines unless nothing follows."""
        with open(self.executing._folder / stream, "rb") as log:
            log.seek(self.shown[stream])
            found = log.read()
        if not ended:
            found = found[: found.rfind(b"\n") + 1]
        self.shown[stream] += len(found)
        return found.decode(errors="replace")


def _start(file: Any, rscript: Any, cwd: Any, before: Any, words: Any, after: Any, variables: Any, values: Any) -> Any:
    """Start a command of a flow file, given its words before and after the command. The number of the process."""
    from metaflow.runner import ExecutingRun, Runner
    from rpy2.rinterface import IntSexpVector

    class OfR(Runner):
        def _command(self, command: list[str], arguments: Any) -> list[str]:
            in_r = self.flow_file.lower().endswith(".r")
            program = [text(rscript), self.flow_file] if in_r else super()._command([], {})
            return [*program, *strings(before), *command, *strings(after)]

    runner = OfR(text(file), show_output=False, cwd=text(cwd))
    runner.env = dict(zip(strings(variables), strings(values), strict=True))  # Python's own may be older
    followed = _Followed(ExecutingRun(runner, strings(words), {}))
    number = followed.executing._process.pid
    _running[number] = followed
    return IntSexpVector([number])


def _follow(number: Any) -> Any:
    """Whether it has ended, and what it has printed since the last call."""
    from rpy2.rinterface import BoolSexpVector, ListSexpVector

    from metaflow_r.client_values import texts

    followed = _running[int(number[0])]
    ended = followed.executing.returncode is not None  # asked first: what it wrote before its end may not be lost
    return ListSexpVector([BoolSexpVector([ended]), *(texts([followed.news(s, ended)]) for s in followed.shown)])


def _ended(number: Any) -> Any:
    """What R keeps of it. ``MetaflowUsageError`` when it was not begun."""
    from metaflow_r.client_values import to_r

    executing = _running[int(number[0])].executing
    executing._check_begun()
    facts = executing._facts()
    return to_r(
        {
            "pathspec": f"{facts['flow_name']}/{facts['run_id']}" if facts else "",
            "status": executing.status,
            "returncode": executing.returncode,
            "stdout": executing.stdout,
            "stderr": executing.stderr,
        }
    )


def _close(number: Any) -> None:
    """Stop it if it still runs, and remove its logs."""
    _running.pop(int(number[0])).executing.cleanup()


FOR_R: dict[str, Callable[..., Any]] = {
    "runner_start": _start,
    "runner_follow": _follow,
    "runner_ended": _ended,
    "runner_close": _close,
}
