"""The process in which the functions of ``@exit_hook`` run.

It is forked before anything is opened, like the launcher, because a fork must share neither threads nor connections.
It waits until the run has ended, and ends with the driver when that dies.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from metaflow_core import identity
from metaflow_core.decorators.exit_hook import ExitHook, hook_name, takes_run
from metaflow_core.decorators.resolve import flow_decorators
from metaflow_core.engine.relay import Show, relay
from metaflow_core.engine.report import Report
from metaflow_core.engine.streams import leave, make_streams
from metaflow_core.engine.task import runtime_of
from metaflow_core.graph.model import FlowDef


def hooks_of(flow: FlowDef, status: str) -> list[Callable[..., object]]:
    """The functions to call when a run ends with ``status``. A run that was interrupted has not succeeded."""
    when = "on_success" if status == "completed" else "on_error"
    found = [decorator for decorator in flow_decorators(flow) if isinstance(decorator, ExitHook)]
    return [function for decorator in found for function in decorator.functions(when)]


def call_hooks(flow: FlowDef, run_id: str, status: str, namespace: str | None) -> int:
    """Call the functions, each whatever became of those before it. The number of those that failed."""
    from metaflow_core.results import Run
    from metaflow_core.results import namespace as switch_namespace

    identity.own_run = f"{flow.name}/{run_id}"  # which is in every namespace
    if namespace is not None:
        switch_namespace(namespace or None)
    failed = 0
    for function in hooks_of(flow, status):
        try:
            function(*([Run(identity.own_run)] if takes_run(function) else []))
        except BaseException as error:
            failed += 1
            runtime = runtime_of(getattr(function, "language", "python"))
            print(runtime.describe_error(error)[1].rstrip(), file=sys.stderr)
            print(f"The exit hook {hook_name(function)} failed.", file=sys.stderr, flush=True)
    return failed


class ExitHooks:
    """The driver's side. ``command``, where a fork must not run the user's code, is a program that does it instead."""

    def __init__(
        self, flow: FlowDef, namespace: str | None, command: Callable[[str, str], Sequence[str]] | None
    ) -> None:
        told, self._tell = os.pipe()
        self._pipes: dict[int, str] = {}  # which of its streams comes out of them
        writers = []
        for stream in ("stdout", "stderr"):
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            self._pipes[reader] = stream
            writers.append(writer)
        self._pid = os.fork()
        if self._pid == 0:
            for fd in (self._tell, *self._pipes):
                os.close(fd)
            _wait_and_call(flow, namespace, command, told, writers)
        for fd in (told, *writers):
            os.close(fd)

    def close(self) -> None:
        """End the process, if it still waits."""
        for fd in (self._tell, *self._pipes):
            os.close(fd)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def call(self, run_id: str, status: str, report: Report) -> None:
        """Have the functions called, and show what they print. What becomes of them changes nothing for the run."""

        def show(stream: str) -> Show:
            def line(text: bytes, complete: bool) -> None:
                report.exit_hook_output(self._pid, stream, text.decode("utf-8", "replace").rstrip("\r"))

            return line

        try:
            with suppress(BrokenPipeError):
                os.write(self._tell, f"{run_id} {status}\n".encode())
            code = relay(self._pid, {fd: show(stream) for fd, stream in self._pipes.items()})
            self._end_group()  # what the functions have started ends with them, as in a task
            if code:
                report.note(_verdict(code), "failed")
        except KeyboardInterrupt:
            self._end_group()
            report.note("Interrupted: the exit hooks were stopped.", "failed")
        report.flush()

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)


def _verdict(code: int) -> str:
    if code == 1:
        return "An exit hook failed. The run is as it was."
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"The process of the exit hooks {how}. The run is as it was."


def _wait_and_call(
    flow: FlowDef,
    namespace: str | None,
    command: Callable[[str, str], Sequence[str]] | None,
    told: int,
    writers: Sequence[int],
) -> NoReturn:
    code = 1
    try:
        os.setsid()  # a terminal's interrupt is for the driver
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (writers[0], 1), (writers[1], 2)):
            os.dup2(source, target)
            os.close(source)
        message = os.read(told, 4096).decode()
        if not message:  # the driver has ended without a run
            os._exit(0)
        os.close(told)
        run_id, status = message.split()
        if command is not None:
            arguments = list(command(run_id, status))
            os.execvp(arguments[0], arguments)
        make_streams()
        code = 1 if call_hooks(flow, run_id, status, namespace) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        leave(code)
