"""What every plugin that runs tasks on other machines must do, as tests to run against yours.

Subclass the contract in a test file. The fixture ``decorator`` gives the name of your step decorator, once the
environment names a database and a store that the other machines reach, and whatever else your plugin needs:

    from metaflow_core.testing.remote_compute import RemoteComputeContract

    class TestMyCompute(RemoteComputeContract):
        @pytest.fixture
        def decorator(self, my_cluster, monkeypatch):
            monkeypatch.setenv("METAFLOW_METADATA_URL", my_cluster.database)
            monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", my_cluster.store)
            return "mine"

There must be room for two tasks at once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 120.0  # seconds after which a test gives up
LINES = 200

FLOW = """
import os, sys, time
from metaflow import FlowSpec, Parameter, catch, step, DECORATOR

class ContractFlow(FlowSpec):
    tasks = Parameter("tasks", separator=",")

    @step
    def start(self):
        self.next(self.work, foreach="tasks")

    @catch(var="failure", print_exception=False)
    @DECORATOR
    @step
    def work(self):
        if self.input == "writes":
            for i in range(LINES):
                print("[stderr] of stdout" if i == 7 else f"{i} out\\n", flush=True)
                print(f"{i} err", file=sys.stderr)
            print("a" * 100_000)
            print("ünicode", end="")
        if self.input == "raises":
            raise ValueError("on purpose")
        if self.input == "exits":
            os._exit(7)
        if self.input == "killed":
            os.kill(os.getpid(), 9)
        if self.input == "waits":
            print(f"waiting in {os.getpid()};", flush=True)
            time.sleep(1000)
        self.next(self.join)

    @step
    def join(self, inputs):
        print("done:", *[getattr(i.failure, "type", None) for i in inputs])
        self.next(self.end)

    @step
    def end(self):
        pass

ContractFlow()
"""


class RemoteComputeContract:
    """Subclass it and give a ``decorator`` fixture: the name of a step decorator of yours, such as ``dask``."""

    @pytest.fixture
    def decorator(self) -> str:
        raise NotImplementedError("give a `decorator` fixture")

    def runs(self, pid: int) -> bool:
        """Whether a task's process still runs. Override it when your machines are not this one."""
        return os.path.exists(f"/proc/{pid}")

    def start(self, decorator: str, folder: Path, *tasks: str) -> subprocess.Popen[str]:
        """Start a flow with tasks that do what is said."""
        text = FLOW.replace("DECORATOR", decorator).replace("LINES", str(LINES))
        (folder / "contract_flow.py").write_text(text, encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "contract_flow.py", "run", "--tasks", ",".join(tasks)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test_output_arrives_whole_and_in_order(self, decorator: str, tmp_path: Path) -> None:
        shown = self.start(decorator, tmp_path, "writes").communicate(timeout=PATIENCE)[0]
        assert "done: None" in shown, shown
        found = {}
        for stream in ("stdout", "stderr"):
            command = [sys.executable, "contract_flow.py", "logs", "1/work", f"--{stream}"]
            found[stream] = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        out = "".join("[stderr] of stdout\n" if i == 7 else f"{i} out\n\n" for i in range(LINES))
        assert found["stdout"].rstrip("\n") == f"{out}{'a' * 100_000}\nünicode"
        assert found["stderr"].startswith("".join(f"{i} err\n" for i in range(LINES)))

    def test_how_tasks_end_is_told(self, decorator: str, tmp_path: Path) -> None:
        process = self.start(decorator, tmp_path, "raises", "exits", "killed", "succeeds")
        shown = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, shown
        assert "ended with exit code 7 before the step was finished" in shown
        assert "was killed by signal 9" in shown
        assert "done: ValueError FailureHandledByCatch FailureHandledByCatch None" in shown

    def test_tasks_run_at_once_and_end_with_the_run(self, decorator: str, tmp_path: Path) -> None:
        process = self.start(decorator, tmp_path, "waits", "waits")
        assert process.stdout is not None
        pids: set[int] = set()
        shown = ""
        for line in process.stdout:
            shown += line
            pids |= {int(pid) for pid in re.findall(r"waiting in (\d+);", line)}
            if len(pids) == 2:
                break
        assert len(pids) == 2, shown
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        end = time.monotonic() + PATIENCE
        while any(self.runs(pid) for pid in pids):
            assert time.monotonic() < end, "tasks go on after their run has ended"
            time.sleep(0.1)
