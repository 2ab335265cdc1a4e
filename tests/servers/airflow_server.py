"""Airflow on loopback for as long as tests use it: its API, scheduler and DAG processor.

They are in a virtual environment of their own, which `tools/setup_orchestrators.sh` makes; `AIRFLOW_3_FOR_TESTS` and
`AIRFLOW_2_FOR_TESTS` name others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from object_stores import free_ports, listens, wait_for

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD = "anne", "the-password-of-anne"


def environment_of(version: str) -> Path:
    """The virtual environment with this version of Airflow: ``3`` or ``2``. Without it the test is skipped."""
    folder = Path(
        os.environ.get(f"AIRFLOW_{version}_FOR_TESTS") or ROOT / ".venv" / "orchestrators" / f"airflow{version}"
    )
    if not (folder / "bin" / "airflow").exists():
        pytest.skip(f"Airflow {version} is not installed; `make test-orchestrators` installs it")
    return folder


def settings(home: Path, dags: Path) -> dict[str, str]:
    """Variables with which Airflow is small, quick and quiet."""
    home.mkdir(exist_ok=True)
    dags.mkdir(exist_ok=True)
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


class Airflow:
    """``url`` is that of its REST API, where ``USER`` signs in; ``dags`` is the folder it reads DAG files from."""

    def __init__(self, program: Path, folder: Path, database: str, worker: Mapping[str, str], stack: ExitStack) -> None:
        self.folder = folder
        self.dags = folder / "dags"
        port, log_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self._known_token: str | None = None
        self._airflow = str(program / "bin" / "airflow")
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({USER: PASSWORD}))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")},
            **settings(folder / "home", self.dags),
            "PATH": f"{program / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace("postgresql://", "postgresql+psycopg2://"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret that all parts of this Airflow share, of 64 bytes or more",
            "AIRFLOW__API__SECRET_KEY": "another secret",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # A machine that runs other tests too is slow to answer; by default a task is ended soon for that.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "20",
            **worker,
        }
        self.run("db", "migrate")
        for name, arguments in {
            "api-server": ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            "scheduler": [],
            "dag-processor": [],
        }.items():
            process = stack.enter_context(self._part(name, *arguments))
            if name == "api-server":
                wait_for(lambda: listens(port), process, folder / f"{name}.log", seconds=180)

    def run(self, *arguments: str) -> str:
        """What a command of Airflow prints."""
        done = subprocess.run(
            [self._airflow, *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the REST API, as JSON."""
        return self._request(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token()}"})

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The DAG runs, the latest first."""
        found: list[dict[str, Any]] = self.request("GET", f"/dags/{dag}/dagRuns?order_by=-run_after")["dag_runs"]
        return found

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The task instances of a DAG run."""
        found: list[dict[str, Any]] = self.request("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=500")[
            "task_instances"
        ]
        return found

    def until(self, ready: Callable[[], Any], what: str, seconds: float = 240) -> Any:
        """The first true answer of ``ready``; the test fails, with the logs' ends, when there is none in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(urllib.error.HTTPError):
                found = ready()
                if found:
                    return found
            time.sleep(0.5)
        pytest.fail(f"Waited {seconds:.0f} seconds for {what}.\n{self.logs()}")

    def ended(self, dag: str, run: str, seconds: float = 240) -> str:
        """The state in which a DAG run ends."""

        def state() -> str | None:
            found: str = self.request("GET", f"/dags/{dag}/dagRuns/{run}")["state"]
            return found if found in ("success", "failed") else None

        ended: str = self.until(state, f"the end of {dag}/{run}", seconds)
        return ended

    def logs(self) -> str:
        """The ends of what the parts of Airflow say, and what tasks have printed."""
        found = [f"--- {path}\n{path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.log")]
        return "\n".join([*found, self.output()])

    def output(self, dag: str = "*") -> str:
        """What the tasks of a DAG have printed, or of the latest ones."""
        paths = (self.folder / "home" / "logs").rglob(f"dag_id={dag}/*/**/attempt=*.log")
        latest = sorted(paths, key=lambda path: path.stat().st_mtime)[-12:]
        return "\n".join(f"--- {path}\n{_events(path)}" for path in latest)

    @contextmanager
    def _part(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A part of Airflow with all its processes, in a group of their own: they do not end with their parent."""
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [self._airflow, name, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)

    def _token(self) -> str:
        if self._known_token is None:
            answer = self._request("POST", "/auth/token", {"username": USER, "password": PASSWORD}, {})
            self._known_token = answer["access_token"]
        return self._known_token

    def _request(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, data, headers, method=method), timeout=60
        ) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def _events(path: Path) -> str:
    """The texts in a log of Airflow, of which each line is JSON."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        with suppress(ValueError, TypeError, KeyError):
            found.append(str(json.loads(line)["event"]))
    return "\n".join(found)[-3000:]
