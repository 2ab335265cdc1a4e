"""Commands as they must be typed to go on from a run, in the shell or in the R session that has started it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Commands(Protocol):
    """How to go on."""

    def logs(self, task: str) -> str:
        """Shows the log of the task ``RUN/STEP/TASK``."""

    def resume(self, origin: str | None) -> str:
        """Resumes the run ``origin``, or the latest one."""

    def look(self, run: str) -> str:
        """Gives the run ``FLOW/RUN``, in the flow's language."""


class ShellCommands(NamedTuple):
    """Such as ``python flow.py logs 5/train/7``. ``before`` and ``after`` are options, seen from the command."""

    program: Sequence[str]
    language: str = "python"
    before: Sequence[str] = ()
    after: Sequence[str] = ()

    def logs(self, task: str) -> str:
        return self._line("logs", task)

    def resume(self, origin: str | None) -> str:
        named = [] if origin is None else ["--origin-run-id", origin]
        return self._line("resume", *named, *self.after)

    def look(self, run: str) -> str:
        flow, _, number = run.partition("/")
        return f"Flow('{flow}')['{number}']" if self.language == "python" else _r_look(run)

    def _line(self, *words: str) -> str:
        import shlex

        return shlex.join([*typed_program(self.program), *self.before, *words])


class SessionCommands(NamedTuple):
    """Such as ``run(flow, logs = "5/train/7")``, in R."""

    flow: str = "flow"  # the variable that holds it
    before: Sequence[str] = ()
    after: Sequence[str] = ()

    def logs(self, task: str) -> str:
        return self._call(f"logs = {_r_text(task)}", self.before)

    def resume(self, origin: str | None) -> str:
        named = "" if origin is None else f", origin_run_id = {_r_text(origin)}"
        return self._call(f"resume = TRUE{named}", [*self.before, *self.after])

    def look(self, run: str) -> str:
        return _r_look(run)

    def _call(self, asked: str, options: Sequence[str]) -> str:
        return f"run({', '.join([self.flow, asked, *_r_arguments(options)])})"


def typed_program(program: Sequence[str]) -> list[str]:
    """The command that starts this program, as short as it works from here: ``python flow.py``, ``Rscript flow.R``."""
    import shutil

    first, *rest = program
    typed = sys.orig_argv[: len(program)]
    if first == sys.executable and typed[1:] == rest:
        first = typed[0]
    elif rest and os.path.isabs(rest[-1]):
        near = os.path.relpath(rest[-1])
        rest[-1] = rest[-1] if near.startswith(os.pardir) else near
    if os.path.isabs(first):
        name = os.path.basename(first)
        found = shutil.which(name)
        if found is not None and _is_same(found, first):
            first = name
    return [first, *rest]


def _is_same(found: str, program: str) -> bool:
    """Whether two paths are the same program. R has two copies of Rscript."""
    import filecmp

    # The Python of an environment is a link to the one that it was made with, and is another one nevertheless.
    if program == sys.executable:
        return os.path.abspath(found) == os.path.abspath(program)
    return filecmp.cmp(found, program, shallow=False)


def _r_arguments(options: Sequence[str]) -> list[str]:
    """``--max-workers 4 --production`` as ``max_workers = "4"`` and ``production = TRUE``."""
    values: dict[str, list[str]] = {}
    name = ""
    for word in options:
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            values.setdefault(name, [])
        elif name:
            values[name].append(word)
    found = []
    for name, given in values.items():
        texts = [_r_text(text) for text in given]
        value = "TRUE" if not texts else texts[0] if len(texts) == 1 else f"c({', '.join(texts)})"
        found.append(f"{name} = {value}")
    return found


def _r_look(run: str) -> str:
    return f"run_client$new({_r_text(run)})"


def _r_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
