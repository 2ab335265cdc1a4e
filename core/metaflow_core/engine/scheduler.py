"""Runs a plan: one single-threaded event loop over the tasks' output and their ends."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from metaflow_core import settings
from metaflow_core.clock import now
from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.decorators.resolve import step_decorators
from metaflow_core.engine.gangs import Gangs, Member
from metaflow_core.engine.interface import Place, TaskRequest, TaskStarted
from metaflow_core.engine.masking import Mask, MaskChannel
from metaflow_core.engine.output import LineSplitter
from metaflow_core.engine.plan import Plan, Work
from metaflow_core.engine.report import Report
from metaflow_core.errors import AttemptGivenUp
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.recording import RunRow
from metaflow_core.store.logs import LogWriter, Stream, log_key

if TYPE_CHECKING:
    from metaflow_core.engine.admission import Admission

READ_SIZE = 1 << 16
PIPE_SIZE = 1 << 20  # of the largest pipe that Linux gives without privileges
GRACE_SECONDS = 5.0  # between asking a task to end and ending it


@dataclass(slots=True)
class Limits:
    """Options of ``run`` and ``resume``."""

    max_workers: int = 16
    max_num_splits: int = 100
    max_log_size: int = 10  # MB


@dataclass(slots=True)
class _Running:
    work: Work
    request: TaskRequest
    label: str
    log: LogWriter
    pipes: dict[int, tuple[Stream, LineSplitter]]
    mask: Mask | None = None
    pid: int | None = None
    deadline: float | None = None
    timed_out: bool = False
    stopped: str = ""  # why it was told to end


@dataclass(slots=True)
class _Policy:
    """What a step's decorators say about its attempts."""

    max_attempts: int
    retry_wait: float
    seconds: float | None
    catches: bool

    @classmethod
    def of(cls, decorators: Iterable[StepDecorator]) -> _Policy:
        found = list(decorators)
        return cls(
            1 + max((d.retries for d in found), default=0),
            max((d.retry_wait for d in found), default=0.0) if settings.get("RETRY_WAIT") else 0.0,
            min((d.seconds for d in found if d.seconds is not None), default=None),
            any(d.handles_failure for d in found),
        )


@dataclass(slots=True)
class Scheduler:
    """Runs what ``plan`` gives until nothing is left, something failed, or the user interrupts."""

    flow: FlowDef
    run: RunRow
    backend: Backend
    compute: Place
    report: Report
    plan: Plan
    limits: Limits
    next_id: int = 1
    masks: MaskChannel | None = None  # when the flow has secrets
    spawned: Collection[str] = ()  # steps with an interpreter of their own
    admission: Admission | None = None  # when the machine is divided among tasks
    beats: bool = True  # whether the run lives as long as this process does
    failed: int = 0
    interrupts: int = 0
    _running: dict[str, _Running] = field(default_factory=dict)
    _pipes: dict[int, _Running] = field(default_factory=dict)
    _policies: dict[str, _Policy] = field(default_factory=dict)
    _gangs: Gangs = field(default_factory=Gangs)
    _poll: Any = field(default_factory=select.poll)
    _force_at: float | None = None
    _announced_wait: bool = False
    _looked: float = 0.0  # when the plan was last asked for work

    def execute(self) -> str:
        """Run to the end and return the run's status: ``completed``, ``failed`` or ``interrupted``."""
        self._policies = {step.name: _Policy.of(step_decorators(step)) for step in self.flow}
        self.limits.max_workers = min(self.limits.max_workers, _most_workers())
        self._poll.register(self.compute.fileno(), select.POLLIN)
        if self.masks is not None:
            self._poll.register(self.masks.fileno(), select.POLLIN)
        beat_every = settings.get("HEARTBEAT_SECONDS")
        next_beat = time.monotonic() + beat_every
        woken, restore = self._listen_to_signals()
        self.report.open()
        try:
            while True:
                self._start_tasks()
                if not self._running and (self._stopping or not self.plan.waiting):
                    break
                if not self._running and self._is_stuck():
                    break
                self._wait(min(next_beat, *self._times()), woken)
                self._enforce_times()
                if time.monotonic() >= next_beat:
                    if self.beats:
                        recording.beat(self.backend.db, self.run.pk)
                    next_beat = time.monotonic() + beat_every
        finally:
            self.report.close()
            restore()
        if self.interrupts:
            return "interrupted"
        return "completed" if self.plan.ended and not self.failed else "failed"

    # --- starting --------------------------------------------------------------------------------------------------

    @property
    def _stopping(self) -> bool:
        return bool(self.failed or self.interrupts)

    def _start_tasks(self) -> None:
        while not self._stopping and len(self._running) < self.limits.max_workers:
            self._looked = time.monotonic()
            fits = None if self.admission is None else self.admission.fits
            work = self.plan.next(self._looked, self.limits.max_workers - len(self._running), fits)
            if work is None:
                return
            self._start(work)

    def _start(self, work: Work) -> None:
        db = self.backend.db
        if work.task_pk == 0:
            if not work.task_id:
                work.task_id = str(self.next_id)
                self.next_id += 1
            work.task_pk = recording.create_task(
                db, self.run.pk, work.step, work.task_id, work.frames, work.split_index, work.parents
            )
            work.parents = []  # the metadata has them now
        else:
            recording.start_attempt(db, work.task_pk, work.attempt)
        policy = self._policies[work.step]
        request = TaskRequest(
            self.run.id,
            work.step,
            work.task_id,
            work.attempt,
            policy.max_attempts,
            work.fallback,
            policy.seconds,
            work.step in self.spawned,
            None if self.admission is None else self.admission.start(work.step),
        )
        key = log_key(self.flow.name, self.run.id, work.step, work.task_id, work.attempt)
        log = LogWriter(self.backend.storage, key, self.limits.max_log_size << 20)
        task = _Running(work, request, f"{self.run.id}/{work.step}/{work.task_id}", log, {})
        if self.masks is not None:
            task.mask = Mask()
        writers = []
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        for stream in streams:
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            writers.append(writer)
            task.pipes[reader] = stream, LineSplitter(mask=task.mask)
            self._pipes[reader] = task
            self._poll.register(reader, select.POLLIN)
        self._running[request.key] = task
        self.compute.start(request, *writers)
        for writer in writers:
            os.close(writer)

    # --- the loop --------------------------------------------------------------------------------------------------

    def _times(self) -> Iterable[float]:
        """When something is due, whatever happens before."""
        yield self.report.due
        if not self._stopping:  # a retry that is due already waits for room, so for the end of a task
            yield self.plan.next_time(after=self._looked)
        if self._force_at is not None:
            yield self._force_at
        for task in self._running.values():
            if task.deadline is not None:
                yield task.deadline

    def _wait(self, until: float, woken: int) -> None:
        self.report.flush()
        timeout = max(0.0, until - time.monotonic())
        ready = {fd for fd, _ in self._poll.poll(timeout * 1000 + 1)}
        if woken in ready:
            ready.discard(woken)
            self._signalled(os.read(woken, 4096))
        self._learn_secrets()
        if self.compute.fileno() in ready:
            ready.discard(self.compute.fileno())
            for event in self.compute.events():
                task = self._running[event.request.key]
                if isinstance(event, TaskStarted):
                    task.pid = event.pid
                    if event.request.seconds is not None:  # not before: another machine may have had no room
                        task.deadline = time.monotonic() + event.request.seconds
                    self.report.task_started(task.request, event.pid)
                else:
                    self._ended(task, event.code, event.message)
        for task in {self._pipes[fd].label: self._pipes[fd] for fd in ready if fd in self._pipes}.values():
            # Output that is here before the news of its task waits, so that "Task is starting." comes first.
            if task.pid is not None:
                for fd in list(task.pipes):  # stdout before stderr
                    if fd in ready:
                        self._read(task, fd)
        for task in self._running.values():
            task.log.flush()

    def _read(self, task: _Running, fd: int) -> bool:
        """Take what a pipe has; False when it has no more."""
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        self._learn_secrets()  # after reading: a secret is told before it can be printed
        stream, splitter = task.pipes[fd]
        self._show(task, stream, splitter.feed(data) if data else splitter.end())
        if not data:
            self._close_pipe(task, fd)
        return bool(data)

    def _learn_secrets(self) -> None:
        for key, piece in self.masks.received() if self.masks is not None else ():
            task = self._running.get(key)
            if task is not None and task.mask is not None:
                task.mask.add_pieces([piece])

    def _show(self, task: _Running, stream: Stream, lines: list[tuple[bytes, bool]]) -> None:
        at = now()
        for text, complete in lines:
            if task.log.truncated:
                return
            task.log.write(stream, text + b"\n" if complete else text, at)
            if task.log.truncated:
                note = f"[Output beyond {self.limits.max_log_size} MB is dropped: --max-log-size]"
                self.report.task_note(task.request, task.pid, note)
            else:
                shown = text.decode("utf-8", "replace").rstrip("\r")
                self.report.output(task.request, task.pid, stream, shown, complete)

    def _close_pipe(self, task: _Running, fd: int) -> None:
        self._poll.unregister(fd)
        del task.pipes[fd]
        del self._pipes[fd]
        os.close(fd)

    def _ended(self, task: _Running, code: int, message: str) -> None:
        for fd in list(task.pipes):
            # No more than the pipe could hold: what the task has started may still write, without end.
            for _ in range(PIPE_SIZE // READ_SIZE):
                if not self._read(task, fd):
                    break
            if fd in task.pipes:  # something that the task has started still holds it
                self._show(task, task.pipes[fd][0], task.pipes[fd][1].end())
                self._close_pipe(task, fd)
        work = task.work
        result = recording.attempt_result(self.backend.db, work.task_pk, work.attempt)
        died, error = result.status == "running", result.error
        if died:
            text = message or self._cause(task, code)
            kind = "TimeoutException" if task.timed_out else "TaskDied"
            error = {"type": kind, "message": text, "stacktrace": "", "language": self.flow[work.step].language}
            try:
                recording.fail_attempt(self.backend.db, work.task_pk, work.attempt, error, task.pid or 0)
            except AttemptGivenUp:  # it lives on a machine that was lost, and was quicker
                result = recording.attempt_result(self.backend.db, work.task_pk, work.attempt)
                died, error = False, result.error
            else:
                if task.log.truncated:
                    self.report.output(task.request, task.pid, "stderr", text)
                self._show(task, "stderr", [(text.encode(), True)])
        task.log.close()
        del self._running[task.request.key]
        if self.admission is not None:
            self.admission.end(work.step, task.request.share)
        if result.status in ("done", "caught"):
            self._succeeded(task, result)
        else:
            self._failed(task, error, died)

    def _succeeded(self, task: _Running, result: recording.Result) -> None:
        work, transition = task.work, result.transition
        if transition and transition["kind"] in ("foreach", "parallel"):
            self.report.foreach(task.request, task.pid, transition["num_splits"])
        self.report.task_finished(task.request, task.pid, result.status == "caught")
        if transition and transition["kind"] == "parallel" and transition["num_splits"] > self.limits.max_workers:
            # Tasks of a gang wait for each other, so they must all run at once.
            count = transition["num_splits"]
            self.report.note(
                f"num_parallel={count} needs as many workers, and there are {self.limits.max_workers}. "
                f"Raise it: --max-workers {count}",
                style="failed",
            )
            self.failed += 1
        elif transition and transition["kind"] == "parallel" and (why := self._too_much(transition)):
            self.report.note(why, style="failed")
            self.failed += 1
        elif work.gang:
            self._member_ended(task, Member(work, True, transition), fails=result.status == "caught")
        else:
            self._go_on(work, transition)

    def _is_stuck(self) -> bool:
        """Whether a gang, of which a resumed run has begun nothing, asks for more than an idle machine has."""
        if self.admission is None or not self.admission.waiting or self.plan.next_time(self._looked) < float("inf"):
            return False
        steps = " and ".join(self.admission.waiting)
        self.report.note(f"The tasks of step {steps} ask for more at once than this machine has.", style="failed")
        self.failed += 1
        return True

    def _too_much(self, transition: dict[str, Any]) -> str:
        """Why a gang does not fit this machine."""
        if self.admission is None:
            return ""
        return self.admission.too_much(transition["targets"][0], transition["num_splits"])

    def _go_on(self, work: Work, transition: dict[str, Any] | None) -> None:
        if self.flow[work.step].is_end:
            self.plan.ended = True
        self.plan.finished(work.task_pk, work.task_id, work.frames, transition)

    def _failed(self, task: _Running, error: dict[str, Any] | None, died: bool) -> None:
        work, policy = task.work, self._policies[task.work.step]
        if self.interrupts:
            return
        can_be_retried = work.attempt + 1 < policy.max_attempts
        can_be_caught = died and policy.catches and not work.fallback
        self.report.task_failed(task.request, task.pid, error, can_be_retried or can_be_caught)
        if work.gang:
            self._member_ended(task, Member(work, False, None, can_be_caught), fails=True)
        elif can_be_retried:
            self.plan.retry([work.again()], time.monotonic() + policy.retry_wait)
        elif can_be_caught:
            self.plan.retry([work.again(fallback=True)], time.monotonic())
        else:
            self._give_up()

    def _give_up(self) -> None:
        self.failed += 1
        if self._running and not self._announced_wait:
            self._announced_wait = True
            count = len(self._running)
            self.report.note(f"Waiting for {count} running task{'s' * (count > 1)}; interrupt to stop at once.")

    def _member_ended(self, task: _Running, member: Member, fails: bool) -> None:
        """A task of a gang has ended: the first that fails stops the others, the last decides for all."""
        gang, work = self._gangs.add(member), member.work
        if fails and not gang.stopped and not work.fallback and not self.interrupts:
            gang.stopped = True
            self._stop_others(task)
        if not gang.is_complete:
            return
        failed, policy = gang.failed, self._policies[work.step]
        if not failed:
            for one in reversed(gang.finished):  # each is put in front of the others
                self._go_on(one.work, one.transition)
        elif work.attempt + 1 < policy.max_attempts:
            works = sorted((one.work.again() for one in gang.ended), key=lambda again: again.frames[-1][2])
            self.plan.retry(works, time.monotonic() + policy.retry_wait)
        elif all(one.can_be_caught for one in failed):
            for one in failed:
                self.plan.retry([one.work.again(fallback=True)], time.monotonic())
            self._gangs.keep(work, gang)
        else:
            self._give_up()

    def _stop_others(self, failed: _Running) -> None:
        """Members of a gang wait for each other, so none of them can go on without the one that has failed."""
        work = failed.work
        others = [t for t in self._running.values() if (t.work.step, t.work.gang) == (work.step, work.gang)]
        for task in others:
            task.stopped = f"Stopped, because the task {failed.label} of its gang has failed."
            task.deadline = time.monotonic() + GRACE_SECONDS
            self.compute.kill(task.request, force=False)
        if others:
            count = len(others)
            self.report.task_note(
                failed.request, failed.pid, f"Stopping the {count} other task{'s' * (count > 1)} of its gang."
            )

    def _cause(self, task: _Running, code: int) -> str:
        """Why a process ended that did not report a result, in words."""
        step = task.work.step
        if self.interrupts:
            return "Stopped by the interrupt."
        if task.stopped:
            return task.stopped
        if task.timed_out:
            return f"Step {step} ran longer than its @timeout and did not stop when asked, so it was killed."
        if code >= 0:
            return f"The process of step {step} ended with exit code {code} before the step was finished."
        from metaflow_core.engine.memory import memory_limits

        limits = memory_limits(self.flow[step])
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = {
            "SIGKILL": " Something outside killed it; most often the machine was out of memory.",
            "SIGSEGV": " Native code crashed: a library, or recursion without end.",
        }
        if limits and name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"):
            hint[name] = f" It may have run out of memory. {limits}"
        return f"The process of step {step} was killed by signal {-code} ({name}).{hint.get(name, '')}"

    # --- times and signals -----------------------------------------------------------------------------------------

    def _enforce_times(self) -> None:
        at = time.monotonic()
        for task in self._running.values():
            if task.deadline is not None and at >= task.deadline:
                task.deadline = None
                task.timed_out = not task.stopped
                self.compute.kill(task.request, force=True)
        if self._force_at is not None and at >= self._force_at:
            self._force_at = None
            for task in self._running.values():
                self.compute.kill(task.request, force=True)

    def _signalled(self, numbers: bytes) -> None:
        if signal.SIGWINCH in numbers:
            self.report.resized()
        count = sum(1 for number in numbers if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        if not count:
            return
        first = self.interrupts == 0
        self.interrupts += count
        if first:
            running = len(self._running)
            if running:
                self.report.note(f"Interrupted: stopping {running} running task{'s' * (running > 1)}. Again to kill.")
            for task in self._running.values():
                self.compute.kill(task.request, force=False)
            self._force_at = time.monotonic() + GRACE_SECONDS
        if self.interrupts > 1:
            self._force_at = time.monotonic()

    def _listen_to_signals(self) -> tuple[int, Any]:
        """Signals arrive as bytes on a pipe, so that they interrupt the wait and nothing else."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        self._poll.register(woken, select.POLLIN)
        old_wakeup = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
        old = {number: signal.signal(number, lambda *_: None) for number in numbers}

        def restore() -> None:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set by Python
            os.close(woken)
            os.close(wake)

        return woken, restore


def _most_workers() -> int:
    """How many tasks this process has file descriptors for: two pipes each, at both ends until they are handed over."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (limit - 64) // 4) if limit != resource.RLIM_INFINITY else 1 << 30
