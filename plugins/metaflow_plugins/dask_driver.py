"""The driver's side of ``dask_compute``, and the only part of it that imports Dask."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from metaflow_core import __version__, settings
from metaflow_core.engine.interface import Job, JobNeeds, TaskExited, TaskRequest, TaskStarted
from metaflow_core.errors import ComputeUnavailable, PluginError

from metaflow_plugins import dask_worker
from metaflow_plugins.place_news import News

LOOK_SECONDS = 1.0  # how often the driver looks whether the workers of its tasks are still there


class _Attempt:
    """What the driver knows of an attempt that Dask has been given."""

    def __init__(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        self.request = request
        self.files = {"stdout": stdout, "stderr": stderr}
        self.future: Any = None
        self.worker: str | None = None
        self.ended = False


class DaskCompute:
    """The driver's side. Dask's own thread puts what it hears into a queue, and another one carries it out."""

    name = "dask"

    def open(self, job: Callable[[TaskRequest], Job], steps: Mapping[str, JobNeeds]) -> None:
        self._job, self._steps = job, steps
        self._client = _connect()
        self._workers: dict[str, dict[str, Any]] = {}  # by address, what each can run
        self._learnt = 0.0
        self._attempts: dict[str, _Attempt] = {}
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._news = News()
        self._topic = f"metaflow-{os.urandom(8).hex()}"
        self._closed = threading.Event()
        try:
            self._learn_workers()
            for step, needs in steps.items():
                if self._workers:
                    self._places(step, needs)
            self._client.subscribe_topic(self._topic, self._heard)
        except BaseException:
            self._client.close(timeout=5)
            raise
        for work in (self._carry_out, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def fileno(self) -> int:
        return self._news.fileno()

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        attempt = _Attempt(request, os.dup(stdout), os.dup(stderr))
        self._attempts[request.key] = attempt
        try:
            needs = self._steps[request.step]
            self._learn_workers(at_most_every=LOOK_SECONDS)
            attempt.future = self._client.submit(
                dask_worker.run_job,
                self._topic,
                request.key,
                json.dumps(self._job(request)),
                key=f"{self._topic}-{request.key}",
                workers=self._places(request.step, needs) if self._workers else None,
                allow_other_workers=False,
                resources=self._resources(needs),
                retries=0,
                pure=False,
            )
            attempt.future.add_done_callback(lambda future: self._queue.put(lambda: self._done(attempt, future)))
        except ComputeUnavailable as error:
            message = str(error)
            self._queue.put(lambda: self._end(attempt, 1, message))

    def events(self) -> list[TaskStarted | TaskExited]:
        return self._news.take()

    def kill(self, request: TaskRequest, force: bool) -> None:
        attempt = self._attempts.get(request.key)
        if attempt is not None and attempt.future is not None:
            attempt.future.cancel()  # the worker sees it, and ends the process

    def close(self) -> None:
        self._closed.set()
        for attempt in list(self._attempts.values()):
            if attempt.future is not None and not attempt.ended:
                with suppress(Exception):
                    attempt.future.cancel()
        self._queue.put(None)
        with suppress(Exception):
            self._client.close(timeout=5)

    # --- what runs where -------------------------------------------------------------------------------------------

    def _learn_workers(self, at_most_every: float = 0.0) -> None:
        """Ask the workers that have come since the last time what they can run."""
        if time.monotonic() < self._learnt + at_most_every:
            return
        self._learnt = time.monotonic()
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        new = [address for address in known if address not in self._workers]
        self._workers = {address: found for address, found in self._workers.items() if address in known}
        if new:
            languages = {language for needs in self._steps.values() for language in needs.languages}
            answers = self._client.run(dask_worker.describe, "r" in languages, workers=new, on_error="return")
            for address, answer in answers.items():
                self._workers[address] = answer if isinstance(answer, dict) else {"error": answer}
                self._workers[address]["resources"] = known[address].get("resources", {})

    def _places(self, step: str, needs: JobNeeds) -> list[str]:
        """The addresses of the workers that can run a step, or an error that says why none can."""
        wanted = self._resources(needs) or {}
        fit, reasons = [], []
        for address, worker in self._workers.items():
            reason = _obstacle(worker, needs, wanted)
            if reason is None:
                fit.append(address)
            else:
                reasons.append(f"{worker.get('host', address)} ({address}) {reason}")
        if fit:
            return fit
        shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        raise ComputeUnavailable(f"No worker of the Dask cluster can run step {step}: {shown}.")

    def _resources(self, needs: JobNeeds) -> dict[str, float] | None:
        """What ``@resources`` asks for, of the resources that workers were started with (``--resources``)."""
        if needs.needs is None:
            return None
        asked = {
            "cpu": needs.needs.cpu,
            "gpu": needs.needs.gpu,
            "memory": None if needs.needs.memory is None else needs.needs.memory * 1e6,  # bytes, as Dask's pages count
        }
        declared = {name for worker in self._workers.values() for name in worker.get("resources", {})}
        return {name: amount for name in declared if (amount := asked.get(name.lower()))} or None

    # --- what is heard ---------------------------------------------------------------------------------------------

    def _heard(self, event: tuple[Any, Any]) -> None:
        """Called by Dask's thread, which must not wait."""
        _, message = event
        attempt = self._attempts.get(message["key"])
        if attempt is None:
            return
        if "pid" in message:
            self._queue.put(lambda: self._started(attempt, message["pid"], message["worker"]))
        else:
            self._queue.put(lambda: self._write(attempt, message["stream"], message["data"]))

    def _carry_out(self) -> None:
        while (act := self._queue.get()) is not None:
            act()

    def _started(self, attempt: _Attempt, pid: int, worker: str) -> None:
        if attempt.worker is None:
            self._news.tell(TaskStarted(attempt.request, pid))
        elif attempt.worker != worker:
            self._lost(attempt)
        attempt.worker = worker

    def _write(self, attempt: _Attempt, stream: str, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(OSError):
            while rest and not attempt.ended:
                rest = rest[os.write(attempt.files[stream], rest) :]

    def _done(self, attempt: _Attempt, future: Any) -> None:
        if future.status == "finished":
            self._end(attempt, int(future.result()), "")
        elif future.status == "error":
            error = future.exception()
            self._end(attempt, 1, f"The Dask cluster could not run the task: {type(error).__name__}: {error}")
        elif self._client.status != "running":
            self._end(attempt, 1, "The connection to the Dask scheduler was lost.")
        else:
            self._end(attempt, -15, "")

    def _watch(self) -> None:
        """See workers that are lost before Dask gives their tasks to another one."""
        missing: dict[str, int] = {}
        while not self._closed.wait(LOOK_SECONDS):
            with suppress(Exception):
                known = self._client.scheduler_info(n_workers=-1)["workers"]
                for attempt in list(self._attempts.values()):
                    if attempt.worker is None or attempt.ended or attempt.worker in known:
                        missing.pop(attempt.request.key, None)
                    elif self._client.status == "running":
                        missing[attempt.request.key] = missing.get(attempt.request.key, 0) + 1
                        if missing[attempt.request.key] > 2:  # news of its end may be on the way
                            self._queue.put(lambda attempt=attempt: self._lost(attempt))  # type: ignore[misc]

    def _lost(self, attempt: _Attempt) -> None:
        if attempt.future is not None:
            with suppress(Exception):
                attempt.future.cancel()
        self._end(attempt, -9, f"The Dask worker {attempt.worker} on which the task ran was lost.")

    def _end(self, attempt: _Attempt, code: int, message: str) -> None:
        if attempt.ended:
            return
        attempt.ended = True
        for file in attempt.files.values():
            os.close(file)
        self._attempts.pop(attempt.request.key, None)
        self._news.tell(TaskExited(attempt.request, code, message))
        attempt.future = None


def _connect() -> Any:
    address = settings.get("DASK_SCHEDULER")
    if address is None:
        raise ComputeUnavailable(
            "@dask needs a Dask cluster, and nothing says where it is. Set METAFLOW_DASK_SCHEDULER to the address of "
            "its scheduler, such as tcp://host:8786."
        )
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise PluginError("@dask needs the package distributed: pip install 'metaflow-tandem[dask]'.") from error
    # We say ourselves what there is to say of a lost connection. The words of distributed are tracebacks, also
    # after a run that went well.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        security = Security()  # type: ignore[no-untyped-call]
        ours = security.get_connection_args("client")  # type: ignore[no-untyped-call]
        if address.startswith("tls:") and ours.get("ssl_context") is None:
            raise ValueError("there is no certificate for this machine")  # a Client would hang when it is given up
        return Client(address, set_as_default=False, name="metaflow")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = f"{error}".rstrip(".")
        if address.startswith("tls:"):
            reason += _about_tls(error)
        raise ComputeUnavailable(f"No Dask scheduler answers at {address}: {reason}.") from error


def _about_tls(error: BaseException | None) -> str:
    """Why there is no connection by way of TLS, as far as the error, or one behind it, knows."""
    import ssl

    found = ""
    while error is not None and not found:
        found = f" ({error})" if isinstance(error, ssl.SSLError) else ""
        error = error.__cause__ or error.__context__
    return (
        f"{found}. For TLS, check DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
        f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
    )


def _obstacle(worker: Mapping[str, Any], needs: JobNeeds, wanted: Mapping[str, float]) -> str | None:
    """Why a worker can't run a step, in words; None when it can."""
    if "error" in worker:
        return f"does not have metaflow-tandem {__version__} installed ({worker['error']})"
    if worker["version"] != __version__:
        return f"has metaflow-tandem {worker['version']}, and this is {__version__}"
    if "r" in needs.languages and not worker["r"]:
        return "does not have R with rpy2 and the R package metaflow"
    for name, amount in wanted.items():
        if worker["resources"].get(name, 0) < amount:
            return f"has {worker['resources'].get(name, 0):g} of {name}, and @resources asks for {amount:g}"
    return None
