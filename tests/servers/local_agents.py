"""Agents of the local orchestrator, and flows deployed to it, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

METAFLOW = str(Path(sys.executable).parent / "metaflow")
PATIENCE = 120.0

# What a run has begun is a line in ran.txt: so it can be seen how often each began.
FLOW = """
    import os, pathlib, time
    from metaflow import FlowSpec, Parameter, current, get_namespace, step

    class LocalFlow(FlowSpec):
        alpha = Parameter("alpha", default=0.5)
        place = Parameter("place", default="")
        hold = Parameter("hold", default=False)
        fail = Parameter("fail", default=False)

        @step
        def start(self):
            self.doubled = 2 * self.alpha
            self.namespace = get_namespace()
            if self.place:
                file = os.open(os.path.join(self.place, "ran.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, (current.run_id + "\\n").encode())
            while self.hold and not pathlib.Path(self.place, "go").exists():
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            if self.fail and not pathlib.Path(self.place, "mended").exists():
                raise ValueError("as asked")

    if __name__ == "__main__":
        LocalFlow()
    """


def command(*words: str) -> list[str]:
    return [METAFLOW, "agent", "--interval", "0.02", *words]


def agent(*words: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
    """What ``metaflow agent --once`` says, which ends with this exit code."""
    done = subprocess.run(
        command("--once", *words), capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})}
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert not done.stderr, done.stderr
    return done.stdout


class Agents:
    """Agents that run until they are stopped, or killed."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        end_drivers()


def end_drivers() -> None:
    """Kill what is left of the runs of this test's database."""
    for run in rows("SELECT pid, process FROM local_runs WHERE status = 'running' AND pid IS NOT NULL"):
        from metaflow_core.machine import process_of

        if process_of(run[0]) == run[1]:
            os.kill(run[0], signal.SIGKILL)


def rows(sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """What the database of the test's project answers."""
    from metaflow_core.metadata.backend import open_backend

    backend = open_backend()
    try:
        return list(backend.db.execute(sql, values))
    finally:
        backend.close()


def queue(place: Path | None = None, **parameters: Any) -> str:
    """As ``local trigger`` does with the one flow that is deployed, or the latest; the id of the run."""
    from metaflow_core.metadata import local_runs
    from metaflow_core.metadata.backend import open_backend

    backend = open_backend()
    try:
        pk = backend.db.execute("SELECT MAX(pk) FROM deployments WHERE status = 'active'")[0][0]
        given = {**({"place": str(place)} if place else {}), **parameters}
        return local_runs.queue(backend.db, pk, given).run_id
    finally:
        backend.close()


def statuses() -> dict[str, str]:
    """The status of each run, as the database has it."""
    return {f"local-{number}": status for number, status in rows("SELECT number, status FROM local_runs ORDER BY pk")}


def listed(run: Callable[..., Any], script: str, *words: str) -> dict[str, str]:
    """The statuses of the runs that ``local list-runs`` has, by id."""
    done = run(script, "local", "list-runs", "--json", *words)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["run_id"]: one["status"] for one in found}


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened for two minutes"
        time.sleep(0.02)
    return found


def ran(project: Path) -> list[str]:
    """The ids of the runs that have begun, sorted; one that began twice is there twice."""
    file = project / "ran.txt"
    return sorted(file.read_text().split(), key=lambda id: int(id.partition("-")[2])) if file.exists() else []
