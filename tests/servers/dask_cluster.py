"""A Dask cluster for a test: a scheduler and workers on loopback, each a process with a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from object_stores import free_ports, listens, server


class DaskCluster:
    """``start_worker`` adds a worker; its folder is all that it has of the file system's content."""

    def __init__(self, folder: Path, stack: ExitStack, protocol: str = "tcp", options: Sequence[str] = ()) -> None:
        self._folder = folder
        self._stack = stack
        self._options = ["--protocol", protocol, *options]  # of the scheduler and of all workers
        (port,) = free_ports(1)
        self.address = f"{protocol}://127.0.0.1:{port}"
        self._port = port
        self.start_scheduler()
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--no-dashboard", *self._options]
        self.scheduler = self._stack.enter_context(
            server(command, self._folder / "scheduler.log", lambda: listens(self._port))
        )

    def restart_scheduler(self) -> None:
        """Kill it, and its workers, which end without one; then begin anew at the same address."""
        alive = [one for one in self.workers if one.poll() is None]
        for process in (self.scheduler, *alive):
            self.kill(process)
        self.start_scheduler()
        for _ in alive:
            self.start_worker(2)

    def start_worker(
        self, threads: int = 2, environment: Mapping[str, str] | None = None, *options: str
    ) -> subprocess.Popen[bytes]:
        """A worker without a nanny, so that a test can kill it for good."""
        name = f"worker{len(self.workers)}"
        folder = self._folder / name
        folder.mkdir()
        (port,) = free_ports(1)
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("METAFLOW_")},
            **{key: value for key, value in os.environ.items() if key == "METAFLOW_S3_ENDPOINT_URL"},
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "METAFLOW_STORE_CACHE": str(folder / "cache"),
            **(environment or {}),
        }
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--name", name]
        command += ["--nthreads", str(threads), "--local-directory", str(folder), "--no-dashboard", *options]
        command += ["--worker-port", str(port), "--host", "127.0.0.1", *self._options]
        worker = self._stack.enter_context(
            server(command, self._folder / f"{name}.log", lambda: listens(port), variables, folder)
        )
        self.workers.append(worker)
        return worker

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def dask_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskCluster]:
    folder = tmp_path / "dask"
    folder.mkdir()
    with ExitStack() as stack:
        cluster = DaskCluster(folder, stack)
        monkeypatch.setenv("METAFLOW_DASK_SCHEDULER", cluster.address)
        yield cluster
