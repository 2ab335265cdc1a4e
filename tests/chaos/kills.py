"""Kills, cuts and jumps at random instants, over many runs: ``make chaos``. docs/reliability.md has what is checked.

The instants are fractions of an undisturbed run's time, from a seed. A round that goes wrong shows its seed and output,
and the others go on. At the end a table tells how many kills of what there were, and what followed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import every, faulty_proxy
from integrity import problems
from metaflow import Flow, namespace
from metaflow.exception import MetaflowNotFound
from object_stores import free_ports, seaweedfs_server
from postgresql_server import new_server

FLOW = """
import random, time
from metaflow import FlowSpec, IMPORTS step

class ChaosFlow(FlowSpec):
    @step
    def start(self):
        self.items = list(range(5))
        self.shared = random.Random(0).randbytes(200_000)
        self.next(self.work, foreach="items")

    DECORATOR
    @step
    def work(self):
        print("working on", self.input)
        self.block = random.Random(self.input).randbytes(20_000)
        time.sleep(0.05)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(i.block[0] + len(i.shared) for i in inputs)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    ChaosFlow()
"""
EXPECTED = sum(random.Random(item).randbytes(20_000)[0] + 200_000 for item in range(5))
KINDS = [
    *("local-driver", "local-launcher", "local-task", "local-full_disk", "local-clock"),
    *("team-driver", "team-launcher", "team-task", "team-database", "team-store", "team-full_cache"),
    *("team-cut_store", "team-cut_database"),
    *("dask-driver", "dask-worker", "dask-scheduler"),
]


class Wrong(Exception):
    """What a round has found."""


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


class Team:
    """A database and a store of its own, which can be killed and come back."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.database = stack.enter_context(new_server())
        self._folder, self._ports = folder / "store", free_ports(4)
        self._store = ExitStack()
        stack.callback(lambda: self._store.close())
        self.start_store()

    def start_store(self) -> None:
        self.store = self._store.enter_context(seaweedfs_server(self._folder, self._ports))

    def kill_store(self) -> None:
        self._store.close()

    def kill_database(self) -> None:
        lines = (self.database.data / "postmaster.pid").read_text().splitlines()
        kill(int(lines[0]))
        end = time.monotonic() + 20
        while time.monotonic() < end:  # its processes see that it is gone, and end
            try:
                self.database.start()
                return
            except AssertionError:
                time.sleep(0.3)
        raise Wrong("the database does not start again")

    def environment(self, name: str) -> dict[str, str]:
        place = f"{self.store.new_url()}/{name}"
        return {**self.store.environment, "METAFLOW_DEFAULT_DATASTORE": place}


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=False)
    if done.returncode:
        raise Wrong("only root can make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def latest() -> Any:
    try:
        return next(iter(Flow("ChaosFlow")), None)
    except MetaflowNotFound:
        return None


class Round:
    def __init__(self, kind: str, seed: str, folder: Path, team: Team | None, cluster: Any) -> None:
        self.place, _, self.victim = kind.partition("-")
        self.chance = random.Random(seed)
        self.folder, self.team, self.cluster = folder, team, cluster
        self.took = 0.0

    def run(self, command: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "flow.py", command], env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def play(self, duration: float) -> str:
        """What followed: ``completed`` (the run itself), ``resumed``, ``again`` (it had not begun)."""
        before = latest()
        began = time.monotonic()
        process = self.run("run")
        end = time.monotonic() + self.chance.uniform(0.15, 1.0) * duration
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, end - time.monotonic()))
        if self.victim == "none":
            self.ended(process)
            self.took = time.monotonic() - began
            self.check()
            return "completed"
        if not self.strike(process):
            self.ended(process)
            return "missed"
        return self.followed(process, self.ended(process), before)

    def followed(self, process: subprocess.Popen[str], output: str, before: Any) -> str:
        """What became of a run that was disturbed; unless it completed, it is resumed."""
        if "Traceback" in output:
            raise Wrong(f"a traceback:\n{output}")
        if process.returncode == 0:
            self.check()
            return "completed"
        if found := problems():
            raise Wrong(f"half-visible: {found[:3]}\n{output}")
        run = latest()
        if run is None or (before is not None and run.id == before.id):
            output = self.ended(again := self.run("run"))
            if again.returncode:
                raise Wrong(f"the next run fails:\n{output}")
            self.check()
            return "again"
        if run.status == "completed":  # it was killed when nothing was left to do but to end
            self.check()
            return "completed"
        if run.status not in ("lost", "failed", "interrupted"):
            raise Wrong(f"a run that is over counts as {run.status}:\n{output}")
        finished = sum(task.successful for step in run for task in step)
        said = self.ended(again := self.run("resume"))
        taken = re.search(r"(\d+) finished tasks? taken over", said)
        if again.returncode or taken is None or int(taken[1]) < finished:
            raise Wrong(f"{finished} tasks had finished; {output}\nresume ends with {again.returncode}:\n{said}")
        self.check()
        return "resumed"

    def play_with_cuts(self) -> str:
        """A network that cuts and delays; it is mended before what failed is resumed."""
        assert self.team is not None
        name = "METAFLOW_METADATA_URL" if self.victim == "cut_database" else "METAFLOW_S3_ENDPOINT_URL"
        address = os.environ[name]
        port = self.team.database.port if self.victim == "cut_database" else int(address.rpartition(":")[2])
        plan = every(self.chance.choice([2, 3, 5]), self.chance.randrange(10**9), self.chance.choice([500, 20_000]))
        with faulty_proxy(port, plan, self.chance.choice([0.0, 0.0, 0.003])) as proxy:
            output = self.ended(process := self.run("run", **{name: address.replace(f":{port}", f":{proxy.port}")}))
        if not proxy.cuts:
            return "missed"
        return self.followed(process, output, None)

    def play_with_clock(self, duration: float) -> str:
        """The time of day jumps, by up to a day, once or twice: the run does not notice."""
        library, offset = self.folder / "clock.so", self.folder / "clock"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Wrong("a clock that jumps needs a C compiler")
        source = Path(__file__).with_name("jumping_clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        offset.write_bytes(bytes(8))
        process = self.run("run", LD_PRELOAD=str(library), CHAOS_CLOCK=str(offset))
        for _ in range(self.chance.choice([1, 2])):
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.chance.uniform(0.1, 0.8) * duration)
            if process.poll() is not None:
                self.ended(process)
                return "missed"
            seconds = self.chance.choice([-1, 1]) * self.chance.choice([3, 90, 3700, 86_400])
            with open(offset, "r+b") as file:
                file.write(struct.pack("l", seconds))
            run = latest()
            if run is not None and abs(seconds) == 3 and run.status not in ("running", "completed"):
                raise Wrong(f"a run that lives counts as {run.status}")
        output = self.ended(process)
        if process.returncode:
            raise Wrong(f"the run ends with {process.returncode}:\n{output}")
        self.check()
        return "completed"

    def ended(self, process: subprocess.Popen[str]) -> str:
        try:
            return process.communicate(timeout=200)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise Wrong(f"it hangs:\n{process.communicate()[0]}") from None

    def check(self) -> None:
        run = latest()
        if not run.successful or run["end"].task.data.total != EXPECTED:
            raise Wrong(f"{run} is {run.status}, with a wrong result or none")
        if found := problems():
            raise Wrong(f"half-visible in the end: {found[:3]}")

    def strike(self, process: subprocess.Popen[str]) -> bool:
        if process.poll() is not None:
            return False
        if self.victim == "driver":
            return kill(process.pid)
        if self.victim in ("launcher", "task"):
            launcher = next(iter(children(process.pid)), None)
            if launcher is None:
                return False
            if self.victim == "launcher":
                return kill(launcher)
            end = time.monotonic() + 5
            while process.poll() is None and time.monotonic() < end:
                if tasks := children(launcher):
                    return kill(self.chance.choice(tasks))
                time.sleep(0.002)
            return False
        if self.victim == "scheduler":
            self.cluster.restart_scheduler()
            return True
        if self.victim == "worker":
            alive = [one for one in self.cluster.workers if one.poll() is None]
            self.cluster.kill(self.chance.choice(alive))
            self.cluster.start_worker(2)
            return True
        assert self.team is not None
        if self.victim == "database":
            self.team.kill_database()
        elif self.victim == "store":
            self.team.kill_store()
            time.sleep(self.chance.uniform(0, 2))
            self.team.start_store()
        return True


def begin(kind: str, seed: str, folder: Path, team: Team, cluster: Any, monkeypatch: Any) -> Round:
    """A round in a project, and where there is one in a database, of its own."""
    place = kind.partition("-")[0]
    folder.mkdir()
    (folder / ".metaflow").mkdir()
    monkeypatch.chdir(folder)
    source = FLOW.replace("IMPORTS", "dask," if place == "dask" else "")
    (folder / "flow.py").write_text(source.replace("DECORATOR", "@dask" if place == "dask" else ""))
    for name in ("METAFLOW_METADATA_URL", "METAFLOW_DEFAULT_DATASTORE", "METAFLOW_STORE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    if place != "local":
        database = f"chaos_{re.sub('[^a-z0-9]', '_', seed)}"
        team.database.sql(f"CREATE DATABASE {database}")
        monkeypatch.setenv("METAFLOW_METADATA_URL", team.database.url(database))
        monkeypatch.setenv("METAFLOW_STORE_CACHE", str(folder / "cache"))
        for name, value in team.environment(folder.name).items():
            monkeypatch.setenv(name, value)
    namespace(None)
    return Round(kind, seed, folder, team, cluster)


def play(kind: str, seed: str, folder: Path, team: Team, cluster: Any, monkeypatch: Any, duration: float) -> str:
    one = begin(kind, seed, folder, team, cluster, monkeypatch)
    victim = one.victim
    if victim == "full_cache":
        with small_disk(folder / "cache", one.chance.randrange(4, 400)):
            return one.play(duration)
    if victim == "clock":
        return one.play_with_clock(duration)
    if victim in ("cut_store", "cut_database"):
        return one.play_with_cuts()
    if victim == "full_disk":
        with small_disk(folder / ".metaflow", one.chance.randrange(100, 1000)):
            process = one.run("run")
            output = one.ended(process)
            if "Traceback" in output:
                raise Wrong(f"a traceback:\n{output}")
            subprocess.run(["mount", "-o", "remount,size=50m", str(folder / ".metaflow")], check=True)
            if process.returncode == 0:
                one.check()
                return "completed"
            run = latest()
            command = "run" if run is None else "resume"
            said = one.ended(again := one.run(command))
            if again.returncode:
                raise Wrong(f"{output}\n{command} ends with {again.returncode}:\n{said}")
            one.check()
            return "again" if run is None else "resumed"
    return one.play(duration)


def test_kills(
    project: Path, request: pytest.FixtureRequest, monkeypatch: Any, tmp_path: Path, dask_cluster: Any
) -> None:
    minutes, seed = request.config.getoption("--minutes"), request.config.getoption("--seed")
    chosen = [kind for kind in request.config.getoption("--only").split(",") if kind] or KINDS
    end = time.monotonic() + 60 * minutes
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    with ExitStack() as stack:
        team = Team(tmp_path, stack)
        for name, value in team.store.environment.items():
            monkeypatch.setenv(name, value)
        if any(kind.startswith("dask") for kind in chosen):
            dask_cluster.start_worker(2)
            dask_cluster.start_worker(2)
        durations: dict[str, float] = {}
        for place in {kind.partition("-")[0] for kind in chosen}:
            name = f"{place}-none-{seed}"
            one = begin(f"{place}-none", name, tmp_path / name, team, dask_cluster, monkeypatch)
            one.play(0.0)
            durations[place] = one.took
        undisturbed = {place: round(seconds, 1) for place, seconds in durations.items()}
        number = 0
        while time.monotonic() < end:
            kind = chosen[number % len(chosen)]
            name = f"{kind}-{seed}-{number}"
            number += 1
            place = kind.partition("-")[0]
            try:
                duration = durations[place]
                outcome = play(kind, name, tmp_path / name, team, dask_cluster, monkeypatch, duration)
            except (Exception, pytest.fail.Exception) as error:
                outcome = "WRONG"
                wrong.append(f"--- {name}\n{type(error).__name__}: {error}")
                print(wrong[-1], flush=True)
            durations[place] *= 0.85 if outcome == "missed" else 1.05  # the machine has other work, now more, now less
            outcomes[kind, outcome] += 1
            print(f"{name}: {outcome}", flush=True)
    print(f"\n{number} rounds, seed {seed}. Undisturbed: {undisturbed} s")
    columns = ["completed", "resumed", "again", "missed", "WRONG"]
    print("| killed | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for kind in chosen:
        print(f"| {kind} | " + " | ".join(str(outcomes[kind, column]) for column in columns) + " |")
    assert not wrong, "\n".join(wrong)
