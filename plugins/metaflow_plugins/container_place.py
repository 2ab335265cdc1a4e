"""The driver's side of places that run each attempt as a container: what AWS Batch and Kubernetes share."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from metaflow_core.engine.interface import JOB_VARIABLE, Job, JobNeeds, TaskExited, TaskRequest, TaskStarted
from metaflow_core.errors import MetaflowException

from metaflow_plugins.container_output import OUT_OF_MEMORY, Exit, read_line
from metaflow_plugins.place_news import News

FIRST_PROCESS = 1  # of a container
CALLS_AT_ONCE = 4  # of the service, to start and to stop attempts
FORCED_SECONDS = 10.0  # after which an attempt that had to be killed is no longer waited for


class Attempt:
    """What the driver knows of an attempt that runs, or is to run, in a container."""

    def __init__(self, request: TaskRequest, job: Job, stdout: int, stderr: int) -> None:
        self.request = request
        self.job = job
        self.files = {"stdout": stdout, "stderr": stderr}
        self.id = ""  # of the service's job, once there is one
        self.exit: Exit | None = None  # once its log says so
        self.started = False
        self.ended = False
        self.unwanted = False
        self.forced = False
        self.lock = threading.RLock()

    @property
    def variable(self) -> tuple[str, str]:
        """The variable that tells the container what to do."""
        return JOB_VARIABLE, json.dumps(self.job, separators=(",", ":"))

    @property
    def names(self) -> list[str]:
        """The flow's file, the run, the step, the task and the attempt, by which people find the job."""
        file = os.path.splitext(os.path.basename(self.job.script))[0]
        return [file, self.request.run_id, self.request.step, self.request.task_id, str(self.request.attempt)]


class ContainerPlace:
    """Calls of the service are made by threads: the scheduler never waits for one.

    A subclass has the methods below, from ``connect`` to ``watch``.
    """

    name: str

    def connect(self, steps: Mapping[str, JobNeeds]) -> None:
        """Get ready to run these steps, or raise ``ComputeUnavailable``."""
        raise NotImplementedError

    def submit(self, attempt: Attempt) -> None:
        """Give the attempt to the service, and note the job's ``id``; an exception's text says why that failed."""
        raise NotImplementedError

    def stop(self, attempt: Attempt) -> None:
        """Ask the service to end the attempt's job."""
        raise NotImplementedError

    def watch(self) -> None:
        """Until ``self.closed``: tell what happens to the attempts. Runs in a thread of its own."""
        raise NotImplementedError

    # --- the interface of the engine -------------------------------------------------------------------------------

    def open(self, job: Callable[[TaskRequest], Job], steps: Mapping[str, JobNeeds]) -> None:
        self._job = job
        self.steps = steps
        self.closed = threading.Event()
        self._attempts: dict[str, Attempt] = {}
        self._news = News()
        self.connect(steps)
        self._pool = ThreadPoolExecutor(CALLS_AT_ONCE, f"{self.name}-calls")
        threading.Thread(target=self.watch, name=f"{self.name}-watch", daemon=True).start()

    def fileno(self) -> int:
        return self._news.fileno()

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        attempt = Attempt(request, self._job(request), os.dup(stdout), os.dup(stderr))
        for file in attempt.files.values():
            os.set_blocking(file, False)
        self._attempts[request.key] = attempt
        self._pool.submit(self._submit, attempt)

    def events(self) -> list[TaskStarted | TaskExited]:
        return self._news.take()

    def kill(self, request: TaskRequest, force: bool) -> None:
        attempt = self._attempts.get(request.key)
        if attempt is not None:
            attempt.unwanted = True
            self._pool.submit(self._stop, attempt, force)

    def close(self) -> None:
        if self.closed.is_set():
            return
        left = self.attempts()
        for attempt in left:
            attempt.unwanted = True
        self._pool.shutdown(wait=True, cancel_futures=True)  # what is being submitted has an id then
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            for attempt in left:
                pool.submit(self._stop, attempt, True)
        self.closed.set()
        for attempt in left:
            self.end(attempt, -9)

    # --- for subclasses --------------------------------------------------------------------------------------------

    def attempts(self) -> list[Attempt]:
        """Those that have not ended."""
        return [attempt for attempt in list(self._attempts.values()) if not attempt.ended]

    def tell_started(self, attempt: Attempt) -> None:
        if not attempt.started and not attempt.ended:
            attempt.started = True
            self._news.tell(TaskStarted(attempt.request, FIRST_PROCESS))

    def write_line(self, attempt: Attempt, line: bytes) -> None:
        """A line of the container's log, without its line break."""
        found = read_line(line)
        if isinstance(found, Exit):
            attempt.exit = found
        else:
            self._write(attempt, *found)

    def end(self, attempt: Attempt, code: int, message: str = "") -> None:
        """The attempt has ended; only the first call counts."""
        with attempt.lock:
            if attempt.ended:
                return
            attempt.ended = True
            for file in attempt.files.values():
                os.close(file)
        self._attempts.pop(attempt.request.key, None)
        self._news.tell(TaskExited(attempt.request, code, message))

    def out_of_memory(self, attempt: Attempt, memory: float) -> str:
        """What to say when a container needed more than it has."""
        return (
            f"Step {attempt.request.step} needed more memory than the {memory:g} MB of its container, and was killed. "
            f"Ask for more: @resources(memory={2 * memory:g})."
        )

    def end_as_logged(self, attempt: Attempt, memory: float) -> None:
        """The attempt has ended, and its log has told how."""
        assert attempt.exit is not None
        no_memory = attempt.exit.note == OUT_OF_MEMORY
        self.end(attempt, attempt.exit.code, self.out_of_memory(attempt, memory) if no_memory else "")

    # --- threads ---------------------------------------------------------------------------------------------------

    def _submit(self, attempt: Attempt) -> None:
        with attempt.lock:
            if attempt.unwanted:
                self.end(attempt, -15)
                return
            try:
                self.submit(attempt)
            except MetaflowException as error:
                self.end(attempt, 1, str(error))
            except Exception as error:
                self.end(attempt, 1, f"{type(error).__name__}: {error}")

    def _stop(self, attempt: Attempt, force: bool) -> None:
        with attempt.lock:
            if attempt.ended or not attempt.id:
                return
            attempt.forced = attempt.forced or force
            with suppress(Exception):
                self.stop(attempt)
        if force and not self.closed.is_set():
            timer = threading.Timer(FORCED_SECONDS, self.end, (attempt, -9))
            timer.daemon = True
            timer.start()

    def _write(self, attempt: Attempt, stream: str, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.closed.is_set():
            with attempt.lock:
                if attempt.ended:
                    return
                with suppress(BlockingIOError):
                    rest = rest[os.write(attempt.files[stream], rest) :]
                    continue
                writable = select.poll()
                writable.register(attempt.files[stream], select.POLLOUT)
            writable.poll(100)
