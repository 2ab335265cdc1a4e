"""Runs whose connections to store and database are cut: the result is right, or `resume` makes it so."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from faulty_proxy import FaultyProxy, every, faulty_proxy
from integrity import problems
from metaflow import Flow
from metaflow.exception import MetaflowDataMissing, UnreadableArtifact
from object_stores import ObjectStore

FLOW = """
    import random
    from metaflow import FlowSpec, step

    class FaultFlow(FlowSpec):
        @step
        def start(self):
            self.items = list(range(6))
            self.shared = random.Random(0).randbytes(300_000)
            self.next(self.work, foreach="items")

        @step
        def work(self):
            print("working on", self.input)
            self.block = random.Random(self.input).randbytes(20_000)
            self.check = len(self.shared)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.total = sum(i.check + len(i.block) + i.block[0] for i in inputs)
            self.next(self.end)

        @step
        def end(self):
            print("total", self.total)

    if __name__ == "__main__":
        FaultFlow()
"""


def total() -> int:
    return sum(300_000 + 20_000 + random.Random(number).randbytes(20_000)[0] for number in range(6))


@pytest.fixture
def store(seaweedfs: ObjectStore, project: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    with faulty_proxy(int(seaweedfs.endpoint.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.fixture
def database(project: Path, team_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    host, _, name = team_database.rpartition("/")
    before, _, port = host.rpartition(":")
    with faulty_proxy(int(port)) as proxy:
        monkeypatch.setenv("METAFLOW_METADATA_URL", f"{before}:{proxy.port}/{name}")
        yield proxy


def run_or_resume(run_flow: Any, proxy: FaultyProxy) -> subprocess.CompletedProcess[str]:
    """Run the flow, and resume while it fails; what it says of a failure is one message without a traceback."""
    result = run_flow(FLOW, "run", check=False)
    for _ in range(3):
        shown = result.stdout + result.stderr
        assert "Traceback" not in shown, shown
        if result.returncode == 0:
            break
        assert result.returncode == 1
        assert "artifact store" in shown or "metadata database" in shown, shown
        assert problems() == []
        result = run_flow("flow.py", "resume", check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    proxy.plan = lambda number: None
    assert problems() == []
    run = Flow("FaultFlow").latest_run
    assert run.successful
    assert run["end"].task.data.total == total()
    assert sorted(task.stdout for task in run["work"]) == [f"working on {number}\n" for number in range(6)]
    return result


@pytest.mark.parametrize("seed", range(2))
def test_cuts_between_a_run_and_its_store(run_flow: Any, store: FaultyProxy, seed: int) -> None:
    store.plan = every(2, seed)
    run_or_resume(run_flow, store)
    assert store.cuts > 0


@pytest.mark.parametrize("seed", range(3))
def test_cuts_between_a_run_and_its_database(run_flow: Any, database: FaultyProxy, seed: int) -> None:
    database.plan = every(2, seed, most=20_000)
    run_or_resume(run_flow, database)
    assert database.cuts > 0


def test_a_slow_network(run_flow: Any, store: FaultyProxy, database: FaultyProxy) -> None:
    store.delay = database.delay = 0.005
    store.plan = every(3, 7)
    run_or_resume(run_flow, store)


def test_a_database_that_is_away_for_a_while(run_flow: Any, project: Path, database: FaultyProxy) -> None:
    """The driver and its tasks wait for a database that was there when the run began."""
    marker = project / "go"
    source = FLOW.replace(
        'print("working on", self.input)',
        f'print("working on", self.input)\n            open({str(marker)!r}, "w").close()',
    )
    (project / "flow.py").write_text(dedent(source))
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    while not marker.exists() and process.poll() is None:
        time.sleep(0.01)
    database.refuse(3)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert problems() == []
    assert Flow("FaultFlow").latest_run["end"].task.data.total == total()


def test_a_store_that_is_away_when_a_task_first_needs_it(
    run_flow: Any, project: Path, store: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process has connections of its own, so that a task does not know that the driver had reached the store."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    marker, gate = project / "go", project / "gate"
    source = FLOW.replace("import random", "import os, random, time").replace(
        "self.items = list(range(6))",
        f"""self.items = list(range(6))
            open({str(marker)!r}, "w").close()
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.05)""",
    )
    (project / "flow.py").write_text(dedent(source))
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    while not marker.exists() and process.poll() is None:
        time.sleep(0.01)
    store.refuse(600)
    gate.touch()
    while store.refused < 12 and process.poll() is None:
        time.sleep(0.05)
    store.refuse(0)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert problems() == []
    assert Flow("FaultFlow").latest_run["end"].task.data.total == total()


def test_copies_of_a_wrong_length_are_not_kept(
    run_flow: Any, project: Path, store: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something between us and the store cuts answers and makes their lengths fit."""
    run_flow(FLOW, "run", "--package-code")
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(project / "another-cache"))
    task = Flow("FaultFlow").latest_run["start"].task
    store.shortens = True
    with pytest.raises(UnreadableArtifact, match="it has 150,"):
        print(len(task["shared"].data))
    assert store.cuts == 2
    with pytest.raises(MetaflowDataMissing, match="is damaged"):
        print(Flow("FaultFlow").latest_run.code.files)
    store.shortens = False
    assert len(task["shared"].data) == 300_000
    assert "flow.py" in Flow("FaultFlow").latest_run.code.files


def test_a_copy_of_a_wrong_length_is_fetched_again(run_flow: Any, project: Path, store: FaultyProxy) -> None:
    """As something between us and the store, or a power cut, has left it."""
    run_flow(FLOW, "run", "--package-code")
    copies = [path for path in (project.parent).rglob("store-cache/*/data/*/*") if path.is_file()]
    assert copies
    for copy in copies:
        copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    run = Flow("FaultFlow").latest_run
    assert len(run["start"].task.data.shared) == 300_000
    assert "flow.py" in run.code.files


def test_what_is_missing_is_noticed(run_flow: Any, project: Path) -> None:
    """The check that the other tests rely on."""
    run_flow(FLOW, "run")
    assert problems() == []
    payloads = sorted(path for path in project.rglob("data/*/*") if path.is_file())
    payloads[0].write_bytes(payloads[0].read_bytes()[:-1])
    payloads[1].unlink()
    found = problems()
    assert len(found) == 2 and "bytes of" in "".join(found) and "can't be read" in "".join(found)
