"""Runs flow files from a program or a notebook: ``Runner("flow.py").run(alpha=0.5)``."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from metaflow_core.errors import CommandException, MetaflowException, MetaflowUsageError
from metaflow_core.results import Run, Task

if TYPE_CHECKING:
    from metaflow_core.cli.arguments import Option
    from metaflow_core.metadata.backend import Backend
    from typing_extensions import Self

E = TypeVar("E", bound="Executing")
Status = Literal["running", "timeout", "failed", "successful"]

POLL_SECONDS = 0.02
_STREAMS = ("stdout", "stderr")


class Place(Protocol):
    """Where a command runs, and which program that is."""

    flow_file: str
    show_output: bool
    cwd: str
    env: dict[str, str]

    def _command(self, words: list[str], arguments: Mapping[str, Any]) -> list[str]: ...


class FlowFile:
    """A flow file, and how it is started: the environment, the directory, and the options before the command.

    As a context manager it stops what still runs in the end, and removes the logs.
    """

    def __init__(
        self,
        flow_file: str | os.PathLike[str],
        show_output: bool = True,
        profile: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        file_read_timeout: float = 3600,
        **options: Any,
    ) -> None:
        self.cwd = os.path.abspath(cwd or os.getcwd())
        self.flow_file = os.path.join(self.cwd, flow_file)
        if not os.path.isfile(self.flow_file):
            raise CommandException(f"There is no flow file {os.fspath(flow_file)!r} in {self.cwd}.")
        self.show_output = show_output
        self.timeout = file_read_timeout
        self.env = {**os.environ, **(env or {}), **({} if profile is None else {"METAFLOW_PROFILE": profile})}
        self.options = options
        self._before = words_of(options, options_before(), f"{type(self).__name__}()") if options else []
        self._started: list[Executing] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Stop what still runs, and remove the logs."""
        for executing in self._started:
            executing.cleanup()
        self._started = []

    def _add(self, executing: E) -> E:
        self._started.append(executing)
        return executing

    def _program(self) -> list[str]:
        """The command that starts the flow, without a command of the flow."""
        in_r = self.flow_file.lower().endswith(".r")
        rscript = shutil.which("Rscript") if in_r else None
        if in_r and rscript is None:
            raise CommandException(f"Rscript is not on the PATH, so {self.flow_file} can't run. Install R.")
        program = [rscript] if rscript else [sys.executable, "-u"]
        return [*program, self.flow_file]

    def _command(self, words: list[str], arguments: Mapping[str, Any]) -> list[str]:
        return [*self._program(), *self._before, *words, *(_after(words[0], arguments) if arguments else [])]


class Runner(FlowFile):
    """Runs a flow file, in Python or in R, in a process of its own.

    ``show_output`` repeats what the flow prints, ``profile`` is a ``METAFLOW_PROFILE``, ``env`` is added to the
    environment and ``cwd`` is the working directory. Further arguments are options that stand before the command, such
    as ``metadata=`` or ``branch=``. ``MetaflowException`` when there is no such file.

        with Runner("train.py").run(alpha=0.5, tags=["nightly"]) as running:
            print(running.status, running.run.data.accuracy)
    """

    def run(self, **arguments: Any) -> ExecutingRun:
        """Run the flow to its end. Arguments are its parameters and options of ``run``: ``tags``, ``max_workers``, ...

        ``MetaflowUsageError``, before anything runs, for an unknown, missing or wrong parameter.
        """
        return self._add(ExecutingRun(self, ["run"], arguments))._finish()

    def resume(self, step_to_rerun: str | None = None, **arguments: Any) -> ExecutingRun:
        """Resume a run, from ``step_to_rerun`` or from where it failed; ``origin_run_id`` names the run."""
        return self._add(
            ExecutingRun(self, ["resume", *([step_to_rerun] if step_to_rerun else [])], arguments)
        )._finish()

    def spin(self, pathspec: str, **arguments: Any) -> ExecutingTask:
        """Run one step alone on the inputs of an earlier run: ``"train"``, ``"5/train"`` or ``"5/train/12"``.

        ``artifacts_module`` is a file with ``ARTIFACTS = {...}``, which the step gets instead of its inputs;
        ``skip_decorators`` leaves its decorators out, ``with_`` adds some. The result has the artifacts of the step:
        ``runner.spin("train").task.data.model``. With ``persist`` they stay in ``.metaflow_spin`` for ``inspect_spin``.
        """
        return self._add(ExecutingTask(self, ["spin", pathspec], arguments))._finish()

    async def async_run(self, **arguments: Any) -> ExecutingRun:
        """Start the flow and return once the run has an id. See ``ExecutingRun.wait``."""
        return await self._begin(ExecutingRun(self, ["run"], arguments))

    async def async_resume(self, step_to_rerun: str | None = None, **arguments: Any) -> ExecutingRun:
        """Start to resume a run and return once the new run has an id."""
        words = ["resume", *([step_to_rerun] if step_to_rerun else [])]
        return await self._begin(ExecutingRun(self, words, arguments))

    async def async_spin(self, pathspec: str, **arguments: Any) -> ExecutingTask:
        """Start to run one step alone; see ``spin``, and ``ExecutingTask.wait``."""
        return self._add(ExecutingTask(self, ["spin", pathspec], arguments))

    async def _begin(self, executing: ExecutingRun) -> ExecutingRun:
        self._add(executing)
        end = time.monotonic() + self.timeout
        while not executing._has_begun():
            if time.monotonic() > end:
                raise MetaflowException(f"The run of {self.flow_file} got no id within {self.timeout:g} seconds.")
            await asyncio.sleep(POLL_SECONDS)
        return executing


class Executing:
    """A command of a flow file in a process of its own. Use it as a context manager: its logs go with it."""

    def __init__(self, place: Place, words: list[str], arguments: Mapping[str, Any]) -> None:
        # Not the runner itself: the logs go when nobody has this object any more.
        self._name, self._show = os.path.basename(place.flow_file), place.show_output
        self._folder = Path(tempfile.mkdtemp(prefix="metaflow-runner-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._timed_out = False
        self._command = place._command([*words, *self._extra()], arguments)
        with open(self._folder / "stdout", "wb") as stdout, open(self._folder / "stderr", "wb") as stderr:
            self._process = subprocess.Popen(
                self._command,
                env={**place.env, **self._variables()},
                cwd=place.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # an interrupt reaches it once, from us
            )

    def _extra(self) -> list[str]:
        return []

    def _variables(self) -> dict[str, str]:
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cleanup()

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def status(self) -> Status:
        """``running``, ``successful``, ``failed``, or ``timeout`` when ``wait`` gave up."""
        code = self.returncode
        if code is None:
            return "timeout" if self._timed_out else "running"
        return "failed" if code else "successful"

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._read("stdout")

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return self._read("stderr")

    async def wait(self, timeout: float | None = None, stream: str | None = None) -> Self:
        """Wait for its end, at most ``timeout`` seconds; ``stream`` (``stdout``, ``stderr``) is repeated meanwhile."""
        _check_stream(stream)
        end = None if timeout is None else time.monotonic() + timeout
        seen = 0
        while self._process.poll() is None and not (end is not None and time.monotonic() > end):
            seen = self._repeat(stream, seen)
            await asyncio.sleep(POLL_SECONDS)
        self._repeat(stream, seen)
        self._timed_out = self._process.poll() is None
        return self

    async def stream_log(self, stream: str, position: int | None = None) -> AsyncIterator[tuple[int, str]]:
        """Lines of ``stdout`` or ``stderr`` as they come, each with the position (in bytes) after it.

        ``position`` begins where an earlier loop has ended.
        """
        _check_stream(stream)
        with open(self._folder / stream, "rb") as log:
            log.seek(position or 0)
            rest = b""
            while True:
                ended = self._process.poll() is not None
                rest += log.readline()
                if rest.endswith(b"\n") or (ended and rest):
                    yield log.tell(), rest.decode(errors="replace").rstrip("\n")
                    rest = b""
                elif ended:
                    return
                else:
                    await asyncio.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Stop it, as an interrupt does, if it still runs: its tasks end, and the run is marked."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def cleanup(self) -> None:
        """Stop it if it still runs, and remove its logs."""
        self.kill()
        self._remove()

    def _finish(self) -> Self:
        """Wait for the end, and repeat the output meanwhile if so asked."""
        shown = dict.fromkeys(_STREAMS, 0)
        try:
            while True:
                ended = self._process.poll() is not None
                for stream in _STREAMS if self._show else ():
                    shown[stream] = self._repeat(stream, shown[stream])
                if ended:
                    break
                try:
                    self._process.wait(POLL_SECONDS if self._show else None)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            self.cleanup()
            raise
        self._check_begun()
        return self

    def _check_begun(self) -> None:
        if self._process.returncode == 2:
            raise MetaflowUsageError(_last_error(self.stderr))

    def _repeat(self, stream: str | None, position: int) -> int:
        if stream is None:
            return position
        with open(self._folder / stream, "rb") as log:
            log.seek(position)
            text = log.read()
        if text:
            target = getattr(sys, stream)
            target.write(text.decode(errors="replace"))
            target.flush()
        return position + len(text)

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="utf-8", errors="replace")


class ExecutingRun(Executing):
    """A run that was started by a ``Runner``."""

    def _extra(self) -> list[str]:
        return ["--runner-attribute-file", str(self._folder / "run.json")]

    @property
    def run(self) -> Run:
        """The run. ``MetaflowException`` when it was never made: see ``stderr``."""
        facts = self._facts()
        if not facts:
            raise MetaflowException(f"There is no run: {_last_error(self.stderr)}")
        # A run of one's own making is there, however it is tagged.
        return Run(f"{facts['flow_name']}/{facts['run_id']}", _namespace_check=False)

    def _facts(self) -> dict[str, str]:
        """What the run has written about itself; nothing before it has an id."""
        file = self._folder / "run.json"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        facts: dict[str, str] = json.loads(text) if text.endswith("}") else {}
        return facts

    def _has_begun(self) -> bool:
        if self._process.poll() is not None:
            self._check_begun()
            return True
        return bool(self._facts())

    def __repr__(self) -> str:
        return f"<ExecutingRun {self._name} {self._facts().get('run_id', '-')}: {self.status}>"


class ExecutingTask(Executing):
    """A step that was started by ``Runner.spin``."""

    _kept: Backend | None = None

    def _extra(self) -> list[str]:
        return ["--runner-attribute-file", str(self._folder / "task.json")]

    @property
    def task(self) -> Task:
        """The task, with the artifacts that the step has set: for as long as this object is there.

        ``MetaflowException`` while it runs, and when it was never made: see ``stderr``.
        """
        if self.returncode is None:
            raise MetaflowException("The step still runs. Wait for its end first: await spinning.wait()")
        file = self._folder / "task.json"
        if not file.exists():
            raise MetaflowException(f"The step did not run: {_last_error(self.stderr)}")
        from metaflow_core.metadata.backend import backend_in
        from metaflow_core.results.base import Scope

        facts = json.loads(file.read_text(encoding="utf-8"))
        if self._kept is None:
            self._kept = backend_in(facts["folder"])
        parts = tuple(facts[part] for part in ("flow_name", "run_id", "step_name", "task_id"))
        return Task._at(Scope(self._kept, None), parts, check=False)

    async def wait(self, timeout: float | None = None, stream: str | None = None) -> Self:
        """Wait for its end, as ``ExecutingRun`` does. ``MetaflowUsageError`` when an argument was wrong."""
        await super().wait(timeout, stream)
        self._check_begun()
        return self

    def cleanup(self) -> None:
        """Stop it if it still runs, and remove its logs and what was not to persist."""
        if self._kept is not None:
            self._kept.close()
        super().cleanup()

    def __repr__(self) -> str:
        return f"<ExecutingTask {self._name}: {self.status}>"


def options_before() -> Mapping[str, Option]:
    """The options that stand before a command of a flow."""
    from metaflow_core.cli.arguments import options_before

    return options_before()


def words_of(options: Mapping[str, Any], known: Mapping[str, Option], where: str) -> list[str]:
    """Options as words of the command line. ``MetaflowUsageError`` for one that ``where`` does not take."""
    from metaflow_core.cli.arguments import known_names

    words: list[str] = []
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known_names(known), 1)
            advice = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known_names(known))}."
            raise MetaflowUsageError(f"{where} has no option {name!r}. {advice}")
        words += [] if value is None else known[name].words(value)
    return words


def _after(command: str, arguments: Mapping[str, Any]) -> list[str]:
    """What follows the command. What is none of its options is taken for a parameter, which the flow knows."""
    if not arguments:
        return []
    from metaflow_core.cli.arguments import options_of, parameter_words

    known = options_of(command)
    words: list[str] = []
    for name, value in arguments.items():
        if value is not None:
            words += known[name].words(value) if name in known else parameter_words(name, value)
    return words


def _check_stream(stream: str | None) -> None:
    if stream is not None and stream not in _STREAMS:
        raise MetaflowException(f"There is no stream {stream!r}. Streams: stdout, stderr.")


def _last_error(stderr: str) -> str:
    """The message at the end of what a command printed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ") if lines else "see its output."
