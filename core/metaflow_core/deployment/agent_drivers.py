"""The processes that run local deployments. Each is a session of its own, and goes on when its agent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from metaflow_core import settings
from metaflow_core.deployment.node import publish_end
from metaflow_core.deployment.plan import PROGRAM
from metaflow_core.metadata import local_runs
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.deployments import DeploymentRow, deployment
from metaflow_core.metadata.local_runs import ENDS, LocalRun

TICKET = "METAFLOW_LOCAL_RUN"  # of the environment of the process: which claim of which run it was started for
GRACE_SECONDS = 30.0  # between asking a process to end and ending it
FINISH_SECONDS = 600.0  # for exit hooks of a run whose process died
REASON = 2000  # characters of what a process has said last


@dataclass
class Driver:
    """A run that this agent looks after. It has started the process, or taken it over from an agent that is gone."""

    backend: Backend
    run: LocalRun
    version: DeploymentRow
    process: subprocess.Popen[bytes] | None = None  # None: it was taken over
    finishing: subprocess.Popen[bytes] | None = None  # what ends the run when its process has died
    told_at: float | None = None
    finish_by: float = field(default=0.0)
    problem: str = ""  # that was told last

    @classmethod
    def start(cls, backend: Backend, run: LocalRun) -> Driver:
        """Start the process of a run that was claimed."""
        driver = cls(backend, run, deployment(backend.db, run.deployment_pk))
        variables = driver._variables()
        variables[TICKET] = f"{run.pk}:{run.claims}"
        driver.process = driver._command("deployed-run", variables)
        return driver

    @classmethod
    def of(cls, backend: Backend, run: LocalRun) -> Driver:
        """Look after a run whose agent is gone."""
        return cls(backend, run, deployment(backend.db, run.deployment_pk))

    @property
    def deadline(self) -> float | None:
        """When ``--workflow-timeout`` is over, in microseconds since 1970."""
        seconds = self.version.plan["workflow_timeout"]
        return None if seconds is None or self.run.started_at is None else self.run.started_at + seconds * 1e6

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        if self.process is not None:
            return self.process.poll() is None
        return self.run.is_here and self.run.has_process

    def end(self) -> None:
        """Tell the process to end, and end it when it does not."""
        if self.told_at is None:
            self.told_at = time.monotonic()
            self._signal(signal.SIGTERM)
        elif time.monotonic() - self.told_at > GRACE_SECONDS:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
        elif self.run.is_here and self.run.pid is not None and self.run.has_process:
            with suppress(ProcessLookupError):
                os.kill(self.run.pid, number)

    def settle(self) -> LocalRun | None:
        """How the run has ended, now that its process is gone. None while that is being found out."""
        db = self.backend.db
        local = local_runs.run(db, self.run.pk)
        if local.status != "running" or local.claims != self.run.claims:
            self._tidy(local)
            return local
        if self.finishing is None:
            stored = local_runs.stored_run(db, local)
            if stored is None:
                reason = self._last_words() or "Its process ended before the run began."
                return self._finished(local, "failed", reason)
            if stored.status in ENDS:
                if stored.status == "completed":
                    publish_end(local.flow, local.run_id, self.version.given)
                return self._finished(local, ENDS[stored.status])
            # It was killed: the run is marked, and its exit hooks are called, by the flow's own program.
            variables = {**self._variables(), "METAFLOW_RUN_STATUS": "failed"}
            self.finishing = self._command("finish", variables)
            self.finish_by = time.monotonic() + FINISH_SECONDS
        if self.finishing.poll() is None:
            if time.monotonic() < self.finish_by:
                return None
            with suppress(ProcessLookupError):
                os.killpg(self.finishing.pid, signal.SIGKILL)
            self.finishing.wait()
        return self._finished(local, "failed", local_runs.died(local))

    def _finished(self, local: LocalRun, status: str, reason: str = "") -> LocalRun:
        local_runs.finish(self.backend.db, local.pk, local.claims, status, reason)
        found = local_runs.run(self.backend.db, local.pk)
        self._tidy(found)
        return found

    # --- its process -----------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """The file with what the process prints. What tasks print is with the run, so it is kept of failures alone."""
        folder = os.path.join(settings.project_root(), settings.FOLDER, "agent")
        return os.path.join(folder, f"{self.run.flow}-{self.run.run_id}.log")

    def _variables(self) -> dict[str, str]:
        """The environment: this agent's, with what was deployed, and with the agent's database and store."""
        own = {name: text for name, text in os.environ.items() if not name.startswith(_OF_A_TASK)}
        return {
            **own,
            "METAFLOW_RETRY_WAIT": "true",
            **self.version.info["environment"],
            # Addresses that were deployed have no password.
            "METAFLOW_METADATA_URL": self.backend.metadata_url,
            "METAFLOW_DEFAULT_DATASTORE": self.backend.storage_url,
            "METAFLOW_RUN_ID": self.run.run_id,
        }

    def _command(self, command: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        os.makedirs(os.path.dirname(self.log), mode=0o700, exist_ok=True)
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, *PROGRAM, command],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # what ends the agent does not end the run
            )

    def _last_words(self) -> str:
        with suppress(OSError), open(self.log, "rb") as file:
            file.seek(max(0, os.path.getsize(self.log) - 4 * REASON))
            return file.read().decode("utf-8", "replace").strip().replace("\0", "")[-REASON:]
        return ""

    def _tidy(self, local: LocalRun) -> None:
        if local.status == "succeeded":
            with suppress(OSError):
                os.unlink(self.log)


_OF_A_TASK = (
    "METAFLOW_NODE_",
    "METAFLOW_RUN_",
    "METAFLOW_DEPLOYMENT",
    "METAFLOW_PRODUCTION_TOKEN",
    "METAFLOW_LOCAL_",
    "METAFLOW_EVENT_",
)
