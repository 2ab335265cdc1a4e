"""Garbage collection removes what nothing refers to and runs that a policy gives up, and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow_core.clock import now
from metaflow_core.errors import (
    MetadataError,
    MetaflowException,
    MetaflowNotFound,
    MetaflowTaggingError,
    StorageError,
)
from metaflow_core.metadata import cloning, recording, retention, unreachable
from metaflow_core.metadata.contents import storage_key
from metaflow_core.metadata.recording import Result, RunRow
from metaflow_core.metadata.schema import MIGRATIONS
from metaflow_core.results import Flow, Run, Task, collect_garbage, namespace
from metaflow_core.results.garbage import GarbageReport, plan_garbage
from metaflow_core.store.logs import LogWriter, log_key
from metaflow_core.values import encode
from metaflow_plugins.local_storage import LocalStorage

DAY = 86400
LARGE = list(range(20_000))  # too large for the database


class Store:
    """A project with old runs, and what is in it."""

    def __init__(self, history: Any, folder: Path) -> None:
        self.history = history
        self.db = history.db
        self.folder = folder
        # A database that is older than its files, which the tests make old.
        self.db.execute("UPDATE schema_migrations SET applied_at = ?", (now() - 1000 * DAY * 10**6,))

    def run(self, days: float = 100, flow: str = "F", *, log: bool = False, **more: Any) -> RunRow:
        """A run that ended so many days ago."""
        run: RunRow = self.history.run(flow, **more)
        at = now() - int(days * DAY * 1e6)
        self.db.execute(
            "UPDATE runs SET created_at = ?, heartbeat_at = ?, finished_at = CASE WHEN status = 'running' THEN NULL"
            " ELSE ? END WHERE pk = ?",
            (at, at, at, run.pk),
        )
        if log:
            self.log(flow, run.id)
        return run

    def log(self, flow: str, run: str) -> str:
        key = log_key(flow, run, "start", "1", 0)
        writer = LogWriter(self.history.storage, key, 10**6)
        writer.write("stdout", f"log of {flow}/{run}\n".encode(), now())
        writer.close()
        return key

    def ids(self, flow: str = "F") -> list[str]:
        namespace(None)
        return sorted((run.id for run in Flow(flow)), key=int)

    def payloads(self) -> list[Path]:
        return sorted(path for path in (self.folder / "data").rglob("*") if path.is_file())

    def age(self, days: float = 100) -> None:
        """Make every file of the store so old."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                at = time.time() - days * DAY
                os.utime(path, (at, at))

    def count(self, table: str) -> int:
        return int(self.db.execute(f"SELECT COUNT(*) FROM {table}")[0][0])

    def state(self) -> str:
        """A digest of everything that is stored."""
        digest = hashlib.sha256()
        for table in re.findall(r"CREATE TABLE (\w+)", "".join(MIGRATIONS)):
            digest.update(repr((table, self.db.execute(f"SELECT * FROM {table}"))).encode())
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.name.startswith("metaflow.db"):
                digest.update(f"{path} {path.stat().st_mtime_ns}".encode() + path.read_bytes())
        return digest.hexdigest()


@pytest.fixture
def store(history: Any, project: Path) -> Store:
    return Store(history, project / ".metaflow")


def check_everything(store: Store) -> int:
    """Load every artifact of every run; how many there were. No row refers to one that is not there."""
    if store.db.dialect == "sqlite":  # others check it themselves
        assert store.db.execute("PRAGMA foreign_key_check") == []
    namespace(None)
    count = 0
    for (flow,) in store.db.execute("SELECT name FROM flows"):
        for run in Flow(flow):
            for step in run:
                for task in step:
                    _ = task.stdout
                    for artifact in task:
                        _ = artifact.data
                        count += 1
    return count


# --- what goes and what stays ---


def test_nothing_to_do(store: Store) -> None:
    before = store.state()
    report = collect_garbage()
    assert (report.bytes, report.runs, report.kept) == (0, [], {})
    assert "There is nothing to remove." in str(report)
    assert store.state() == before


def test_without_an_age_only_what_nothing_refers_to_goes(store: Store) -> None:
    run = store.run(start={"x": LARGE}, log=True)
    store.history.storage.put(storage_key(encode("x" * 10**5).key), lambda file: file.write(b"y" * 5000))  # type: ignore[arg-type,return-value]
    stray = store.log("F", "77")
    (store.folder / ".tmp").mkdir(exist_ok=True)
    (store.folder / ".tmp" / "1-killed").write_bytes(b"z" * 300)
    foreign = [store.folder / name for name in ("notes", "data/aa/notes", "data/notes", "logs/F/1/notes", "logs/notes")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of somebody")
    store.age()
    dry = collect_garbage(dry_run=True)
    report = collect_garbage()
    for found in (dry, report):
        assert vars(found.files) == {"count": 1, "bytes": 5000}
        assert found.logs.count == 1
        assert vars(found.temporary) == {"count": 1, "bytes": 300}
        assert found.runs == []
        assert found.bytes == 5300 + found.logs.bytes
    assert not store.history.storage.exists(stray)
    assert not (store.folder / "logs" / "F" / "77").exists()
    assert Run(f"F/{run.id}")["start"].task["x"].data == LARGE
    assert Run(f"F/{run.id}")["start"].task.stdout == "log of F/1\n"
    assert collect_garbage().bytes == 0
    assert all(path.exists() for path in foreign)


def test_old_runs_go_with_all_that_is_theirs_alone(store: Store) -> None:
    old = store.run(start={"x": LARGE, "mine": "a" * 3000, "both": LARGE[1:]}, log=True)
    kept = store.run(days=1, start={"both": LARGE[1:]}, log=True)
    store.age()
    report = collect_garbage("90d")
    assert [(run.pathspec, run.status) for run in report.runs] == [("F/1", "completed")]
    flow = report.flows["F"]
    assert (flow.runs, flow.tasks) == (1, 3)
    assert flow.bytes >= report.files.bytes + report.logs.bytes > 0
    assert (report.files.count, report.logs.count) == (1, 1)
    assert store.ids() == [kept.id]
    assert len(store.payloads()) == 1
    with pytest.raises(MetaflowNotFound):
        Run(f"F/{old.id}")
    assert check_everything(store) > 0
    assert store.count("tag_events") == 0


def test_ids_of_removed_runs_are_never_used_again(store: Store) -> None:
    store.run()
    store.run(user="will")
    store.run(days=1)
    store.db.execute("DELETE FROM run_tags WHERE tag = 'user:will'")
    assert len(collect_garbage("90d").runs) == 2
    assert store.run().id == "4"


def test_a_dry_run_tells_exactly_what_goes_and_changes_nothing(store: Store) -> None:
    for number in range(12):
        store.run(
            flow="FG"[number % 2],
            start={"x": LARGE[number // 3 :], "y": [number] * 500, "tag": "t" * number},
            tags=["good"] if number == 4 else [],
            log=True,
        )
    store.age()
    before = store.state()
    dry = collect_garbage("90d", dry_run=True)
    assert store.state() == before
    real = collect_garbage("90d")
    assert dry.as_dict() == {**real.as_dict(), "dry_run": True, **_same(dry, "ended_before", "database_bytes")}
    assert len(real.runs) == 9
    assert real.kept == {"latest": 2, "tagged": 1}
    assert collect_garbage("90d").bytes == 0
    check_everything(store)


def _same(report: GarbageReport, *names: str) -> dict[str, Any]:
    return {name: report.as_dict()[name] for name in names}


def test_a_tag_protects(store: Store) -> None:
    store.run(tags=["candidate"])
    store.run(tags=["ci-1"])
    store.run()
    store.run(days=1)
    for ignored, left in (([], "1 2 4"), (["nothing", "[c]"], "1 2 4"), (["ci-*"], "1 4")):
        collect_garbage("90d", ignore_tags=ignored)
        assert " ".join(store.ids()) == left
    Run("F/1").add_tag("ci-2")
    collect_garbage("90d", ignore_tags="ci-*")
    assert store.ids() == ["1", "4"]
    Run("F/1").remove_tag("candidate")
    collect_garbage("90d", ignore_tags="ci-*", keep_tags="ci-2")
    assert store.ids() == ["1", "4"]
    collect_garbage("90d", ignore_tags="ci-*")
    assert store.ids() == ["4"]


def test_a_system_tag_protects_only_when_asked(store: Store) -> None:
    store.run()
    store.run(user="will")
    store.run(user="will")
    store.run()
    collect_garbage("90d", keep_tags=["user:will"])
    assert store.ids() == ["2", "3", "4"]
    collect_garbage("90d")
    assert store.ids() == ["3", "4"]


def test_a_tag_that_comes_during_the_collection_protects(store: Store) -> None:
    store.run()
    store.run()
    store.run(days=1)
    plan = plan_garbage("90d")
    assert len(plan.survey().runs) == 2
    Run("F/1").add_tag("stop!")
    report = plan.carry_out()
    assert [run.pathspec for run in report.runs] == ["F/2"]
    assert store.ids() == ["1", "3"]


def test_the_latest_and_the_latest_successful_run_of_everyone_stay(store: Store) -> None:
    for user, status in (
        ("anne", "completed"),
        ("anne", "completed"),
        ("anne", "failed"),
        ("anne", "failed"),
        ("will", "failed"),
        ("will", "failed"),
    ):
        store.run(user=user, status=status)
    for flow in ("G", "G"):
        store.run(flow=flow)
    production = store.run(user="anne")
    store.run(user="anne", days=1)
    store.db.execute(
        "UPDATE run_tags SET tag = 'production:token' WHERE run_pk = ? AND tag = 'user:anne'", (production.pk,)
    )
    report = collect_garbage("90d")
    assert store.ids() == ["6", "7", "8"]
    assert store.ids("G") == ["2"]
    assert report.kept == {"latest": 3}


def test_the_policy_can_be_narrowed(store: Store) -> None:
    for status in ("completed", "failed", "interrupted"):
        for flow in ("F", "G"):
            store.run(flow=flow, status=status)
    for flow in ("F", "G"):
        store.run(flow=flow, days=1)
    collect_garbage("90d", flow="F", status="failed")
    assert (store.ids(), store.ids("G")) == (["1", "3", "4"], ["1", "2", "3", "4"])
    collect_garbage("90d", flow=Flow("G"), status=["failed", "interrupted"])  # type: ignore[arg-type]
    assert (store.ids(), store.ids("G")) == (["1", "3", "4"], ["1", "4"])
    report = collect_garbage(timedelta(days=90), keep_last=2)
    assert (store.ids(), store.ids("G")) == (["3", "4"], ["1", "4"])
    assert report.kept == {"last": 2}


def test_running_runs_stay_and_lost_ones_may_go(store: Store) -> None:
    store.run(status="running", host="elsewhere", pid=1)  # without a sign of life for 100 days
    running = store.run(status="running", host=os.uname().nodename, pid=os.getpid())
    store.run(status="running")  # an orchestrator drives it
    store.db.execute("UPDATE runs SET heartbeat_at = NULL WHERE id = '3'")
    store.run(days=0.001, status="running", host="elsewhere", pid=1)  # its network may be down
    store.run(days=0)
    recording.beat(store.db, running.pk)
    collect_garbage("0d", status="lost")
    assert store.ids() == ["2", "3", "4", "5"]
    collect_garbage("0h")
    assert store.ids() == ["2", "3", "4", "5"]


def test_a_run_that_is_being_resumed_stays(store: Store) -> None:
    store.run(status="failed")
    store.run(status="failed")
    plan = plan_garbage("90d")
    store.run(days=0, status="running", origin_run_id="1", host="elsewhere", pid=1)
    recording.beat(store.db, 3)
    assert plan.carry_out().runs == []  # the first is being resumed since, the second is the latest ... of then
    report = collect_garbage("90d")
    assert report.kept == {"resumed": 1}
    assert store.ids() == ["1", "3"]
    with pytest.raises(MetaflowNotFound, match="F/2 can't be resumed: it was removed"):
        store.history.begin(origin_run_id="2")


@pytest.mark.parametrize("order", [("1", "2"), ("2", "1"), ("12",), ("2",), ("1",)])
def test_logs_of_tasks_that_were_taken_over_outlive_their_runs(store: Store, order: tuple[str, ...]) -> None:
    """3 resumes 2, which resumes 1: in whichever order these go, 3 keeps its logs."""
    one = store.run(days=1, status="failed", start={"x": LARGE}, log=True)
    two = store.history.begin(origin_run_id="1")
    cloning.clone_tasks(store.db, one, two, ["start"])
    three = store.history.begin(origin_run_id="2")
    cloning.clone_tasks(store.db, two, three, ["start"])
    for run in (two, three):
        recording.finish_run(store.db, run.pk, "failed")
    namespace(None)
    task = Task("F/3/start/1")
    log = "log of F/1\n"
    assert (task.origin_pathspec, task.stdout, Task("F/2/start/1").stdout) == ("F/2/start/1", log, log)
    for runs in order:
        store.db.execute(
            "UPDATE runs SET created_at = 1, finished_at = 1, heartbeat_at = 1"
            f" WHERE id IN ({', '.join(map(repr, runs))})"
        )
        removed = [run.pathspec for run in collect_garbage("90d").runs]
        assert sorted(removed) == [f"F/{run}" for run in runs]
        store.age()
        assert task.stdout == Task("F/3/start/1").stdout == log
        assert task["x"].data == LARGE
        check_everything(store)
    assert task.origin_pathspec == (None if "2" in "".join(order) else "F/2/start/1")
    assert len(list(store.history.storage.keys("logs"))) == (1 if order != ("2",) else 2)


def test_the_setting_gives_an_age(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.run()
    store.run()
    monkeypatch.setenv("METAFLOW_GC_OLDER_THAN", "12 weeks")
    assert collect_garbage("never").runs == []
    assert collect_garbage("200d").runs == []
    assert len(collect_garbage(flow="F").runs) == 1
    monkeypatch.setenv("METAFLOW_GC_OLDER_THAN", "12 moons")
    with pytest.raises(MetaflowException, match=r"METAFLOW_GC_OLDER_THAN: An age .* not '12 moons'"):
        collect_garbage()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"older_than": "90"}, "An age is a number of hours, days or weeks"),
        ({"older_than": "-1d"}, "An age is a number"),
        ({"older_than": 90}, "not 90. Nothing was removed"),
        ({"older_than": ""}, "not ''"),
        ({"older_than": timedelta(days=-1)}, "can't be negative"),
        ({"flow": "F"}, "give older_than as well"),
        ({"status": "failed"}, "give older_than as well"),
        ({"older_than": "1d", "status": "running"}, "not 'running'"),
        ({"older_than": "1d", "keep_last": -1}, "not -1"),
        ({"older_than": "1d", "keep_last": True}, "not True"),
        ({"older_than": "1d", "keep_tags": [""]}, "must not be empty"),
        ({"older_than": "1d", "flow": "Nope"}, "Nope"),
    ],
)
def test_wrong_policies_change_nothing(store: Store, arguments: dict[str, Any], message: str) -> None:
    store.run()
    store.run()
    before = store.state()
    with pytest.raises((MetaflowException, MetaflowTaggingError), match=message):
        collect_garbage(**arguments)
    assert store.state() == before


def test_an_age_beyond_all_times(store: Store) -> None:
    store.run()
    store.run()
    for age in ("999999999999w", timedelta.max):
        assert collect_garbage(age).runs == []
    assert collect_garbage("1d", keep_last=10**30).kept == {"latest": 1, "last": 1}


# --- files ---


def test_young_files_are_spared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for hours in (2, 20, 30):
        key = storage_key(encode([hours] * 20_000).key)
        store.history.storage.put(key, lambda file: file.write(b"x" * 100))  # type: ignore[arg-type,return-value]
        os.utime(store.folder / key, (time.time() - hours * 3600,) * 2)
    assert collect_garbage(dry_run=True).files.count == 1
    assert collect_garbage().files.count == 1
    monkeypatch.setenv("METAFLOW_GC_GRACE_HOURS", "1")
    assert collect_garbage(dry_run=True).files.count == 2
    assert collect_garbage().files.count == 2
    monkeypatch.setenv("METAFLOW_GC_GRACE_HOURS", "0.5")
    with pytest.raises(MetaflowException, match="at least 1"):
        collect_garbage()


def test_files_from_the_future_are_spared(store: Store) -> None:
    store.run(start={"x": LARGE})
    store.run(days=1)
    store.age(days=-400)
    report = collect_garbage("90d")
    assert (len(report.runs), report.files.count) == (1, 0)
    assert len(store.payloads()) == 1
    store.run(start={"x": LARGE})  # finds the file, and keeps it
    store.age()
    assert collect_garbage().files.count == 0
    assert check_everything(store)


def test_files_from_before_the_database_are_left_alone(store: Store) -> None:
    """A database that was lost and made anew must not cost what its predecessor refers to."""
    store.run(start={"x": LARGE}, log=True)
    store.age(days=2000)
    for table in ("artifacts", "contents", "run_values", "run_tags", "attempts", "task_parents", "tasks", "runs"):
        store.db.execute(f"DELETE FROM {table}")
    before = store.payloads()
    report = collect_garbage()
    assert (report.files.count, report.logs.count, report.older.count) == (0, 0, 2)
    assert "from before there was this database" in str(report)
    assert store.payloads() == before


def test_a_store_of_several_databases_is_refused(store: Store, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.run(start={"x": LARGE})
    monkeypatch.setenv("METAFLOW_METADATA_URL", f"sqlite:///{project}/other.db")
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", str(store.folder))
    other = type(store.history)()
    other.run(start={"y": LARGE[3:]})
    store.age()
    with pytest.raises(MetaflowException, match=r"used by other databases, too.*/\.metaflow/metaflow\.db\. Nothing"):
        collect_garbage()
    monkeypatch.delenv("METAFLOW_METADATA_URL")
    monkeypatch.delenv("METAFLOW_DEFAULT_DATASTORE")
    before = store.state()
    for dry_run in (True, False):
        with pytest.raises(MetaflowException, match=r"used by other databases, too.*/other\.db \(mark: databases/"):
            collect_garbage("0d", dry_run=dry_run)
    assert store.state() == before
    other.backend.close()
    [mark] = store.history.storage.keys("databases")
    store.history.storage.delete(mark)
    assert Run(f"F/{run.id}")["start"].task["x"].data == LARGE
    assert collect_garbage().files.count == 1


def test_an_object_store_is_swept_as_well(project: Path, monkeypatch: pytest.MonkeyPatch, history: Any) -> None:
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", f"memory://gc-{os.getpid()}-{time.time_ns()}")
    store = Store(type(history)(), project / ".metaflow")
    storage = store.history.storage
    assert storage.url.startswith("memory://")
    store.run(start={"x": LARGE, "both": LARGE[1:]}, log=True)
    store.run(days=1, start={"both": LARGE[1:]}, log=True)
    assert len(list(storage.keys("data"))) == 2

    def forget_dates() -> None:
        for file in storage._fs.store.values():
            file.created = file.created - timedelta(days=30)

    assert collect_garbage("90d").files.count == 0
    assert len(list(storage.keys("data"))) == 2
    assert len(list(storage.keys("logs"))) == 1
    forget_dates()
    assert collect_garbage().files.count == 1
    assert len(list(storage.keys("data"))) == 1
    assert check_everything(store)
    store.history.backend.close()


# --- beside running flows ---


def test_a_writer_whose_payload_is_removed_writes_it_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst moment: the writer has found the payload and skipped writing, and commits after the collection."""
    value = {"x": encode(LARGE)}
    store.history.storage.put(storage_key(value["x"].key), value["x"].write)
    store.age()
    run = store.history.begin()
    task = recording.create_task(store.db, run.pk, "start", "1", [], None, [run.parameters_pk])
    removed = []
    put = LocalStorage.put

    def put_and_collect(self: Any, key: str, write: Any, replace: bool = False) -> float | None:
        found = put(self, key, write, replace)
        removed.append(collect_garbage().files.count)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", put_and_collect)
        recording.commit_attempt(store.db, store.history.storage, task, 0, Result("done"), value)
    assert removed == [1, 0]
    namespace(None)
    assert Task(f"F/{run.id}/start/1")["x"].data == LARGE


@pytest.mark.both_databases
def test_a_value_that_is_stored_again_at_the_last_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector has found that nothing refers to a value; before it removes the value, a task stores it again."""
    store.run(start={"x": LARGE})
    store.db.execute("DELETE FROM artifacts WHERE name = 'x'")
    store.age()
    turns = []
    in_turns = unreachable.in_turns

    def late(db: Any) -> Any:
        if not turns:
            store.run(days=0, start={"x": LARGE})
        turns.append(1)
        return in_turns(db)

    with monkeypatch.context() as patch:
        patch.setattr(unreachable, "in_turns", late)
        report = collect_garbage()
    assert turns
    assert (report.values.count, report.files.count) == (0, 0)
    assert Run("F/2")["start"].task["x"].data == LARGE


def test_a_file_that_is_written_anew_at_the_last_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed as old; another collector has removed it, and a task that has not committed yet wrote it again."""
    x = encode(LARGE)
    store.history.storage.put(storage_key(x.key), x.write)
    store.age()
    in_turns = unreachable.in_turns

    def late(db: Any) -> Any:
        os.utime(store.payloads()[0])
        return in_turns(db)

    with monkeypatch.context() as patch:
        patch.setattr(unreachable, "in_turns", late)
        assert collect_garbage().files.count == 0
    assert len(store.payloads()) == 1


def test_values_of_a_removed_run_that_are_stored_again(store: Store) -> None:
    """Writers store the value that removed runs had, again and again, beside a collector; no reference is broken.

    The payload is made old as soon as something refers to it, so that it goes when nothing does any more.
    """
    code = """
        import os, random, sys, time
        from metaflow_core.metadata import recording
        from metaflow_core.metadata.backend import open_backend
        from metaflow_core.metadata.contents import stored, storage_key, content
        from metaflow_core.metadata.recording import NewRun, Result
        from metaflow_core.values import decode, encode

        backend, value = open_backend(), list(range(20_000))
        db, storage, x = backend.db, backend.storage, encode(value)
        path = os.path.join(storage.url, storage_key(x.key))
        for turn in range(25):
            run = recording.create_run(db, storage, NewRun("H", "x", "x", []))
            task = recording.create_task(db, run.pk, "start", "1", [], None, [run.parameters_pk])
            recording.commit_attempt(db, storage, task, 0, Result("done"), {"x": x})
            pk = recording.artifacts(db, task, 0)["x"]
            assert decode(stored(content(db, pk), storage)) == value
            fd = os.open(path, os.O_RDONLY)  # this file, which is referred to, and no later one
            os.utime(fd, (time.time() - 10**6,) * 2)
            os.close(fd)
            recording.finish_run(db, run.pk, "completed")
            db.execute("UPDATE runs SET created_at = 1, finished_at = 1 WHERE pk = ?", (run.pk,))
            while db.execute("SELECT 1 FROM runs WHERE pk = ?", (run.pk,)):
                time.sleep(0.0005)
            time.sleep(random.random() * 0.02)
    """
    writers = [subprocess.Popen([sys.executable, "-c", dedent(code)]) for _ in range(2)]
    removed = 0
    while any(writer.poll() is None for writer in writers):
        removed += collect_garbage("1h").files.count
    assert [writer.returncode for writer in writers] == [0, 0]
    assert removed > 0
    check_everything(store)


@pytest.mark.both_databases
def test_two_collections_at_once(store: Store) -> None:
    for number in range(40):
        store.run(start={"x": LARGE[number:]}, log=True)
    store.age()
    command = [sys.executable, "-c", "from metaflow import collect_garbage; print(collect_garbage('90d').files.count)"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(int(out) for out, _ in outputs) == 39
    assert store.ids() == ["40"]
    assert check_everything(store)
    assert collect_garbage("90d").bytes == 0


# --- interrupted ---


@pytest.mark.both_databases
def test_killed_at_any_instant_it_loses_nothing(store: Store) -> None:
    """kill -9 again and again: what is referred to stays, and a last collection finds all the rest."""
    shared = LARGE[5:]
    for number in range(12):
        store.run(start={"x": LARGE[number:], "shared": shared, "small": [number] * 300}, log=True)
    kept = [store.run(tags=["keep"], start={"shared": shared, "mine": LARGE[7:]}, log=True).id for _ in range(2)]
    store.age()
    expected = {id: _values(id) for id in kept}
    kills = 0
    for turn in range(60):
        child = os.fork()
        if child == 0:
            collect_garbage("90d")
            os._exit(0)
        time.sleep(turn % 25 * 0.002)
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert {id: _values(id) for id in kept} == expected
        if kills < turn:
            break  # it came to its end before it was killed, and that not only once
    assert kills > 10
    check_everything(store)
    collect_garbage("90d")
    assert store.ids() == kept
    assert len(store.payloads()) == 2
    assert len(list(store.history.storage.keys("logs"))) == 2
    assert {id: _values(id) for id in kept} == expected
    clean = collect_garbage("90d")
    assert (clean.bytes, clean.runs) == (0, [])


def _values(run: str) -> Any:
    namespace(None)
    task = Run(f"F/{run}")["start"].task
    assert task is not None
    return {artifact.id: artifact.data for artifact in task}, task.stdout


def test_an_interrupted_removal_is_finished_by_any_later_collection(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.history.begin()
    for number in range(450):
        store.history.task(run, "work", str(number + 1), [run.parameters_pk], {"x": number})
    recording.finish_run(store.db, run.pk, "failed")
    store.db.execute("UPDATE runs SET created_at = 1, finished_at = 1")
    store.run(days=1)
    remove = retention.remove_tasks
    turns = iter([remove, remove])
    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(retention, "remove_tasks", lambda db, pk: next(turns)(db, pk))
        collect_garbage("90d")
    assert store.count("tasks") == 51 + 3
    assert Run("F/1").status == "removed"
    with pytest.raises(MetaflowNotFound, match="removing this run"):
        Run("F/1").add_tag("too late")
    report = collect_garbage()
    assert [run.pathspec for run in report.runs] == ["F/1"]
    assert "Runs whose removal was interrupted, removed: 1" in str(report)
    assert (store.ids(), store.count("tasks")) == (["2"], 3)


def test_rows_that_a_driver_wrote_after_its_run_was_removed(store: Store) -> None:
    run = store.run(start={"x": LARGE})
    store.run(days=1)
    collect_garbage("90d")
    task = recording.create_task(store.db, run.pk, "late", "9", [], None, [])
    recording.commit_attempt(store.db, store.history.storage, task, 0, Result("done"), {"y": encode(LARGE[2:])})
    store.db.execute("DELETE FROM tasks WHERE step = 'start' AND run_pk = 2")
    store.age()
    dry, report = collect_garbage(dry_run=True), collect_garbage()
    assert dry.files == report.files
    assert (report.files.count, report.values.count) == (2, dry.values.count)
    assert store.db.execute("SELECT step FROM tasks ORDER BY pk") == [("_parameters",), ("end",)]
    assert store.db.execute("SELECT 1 FROM artifacts WHERE task_pk NOT IN (SELECT pk FROM tasks)") == []


def test_a_full_disk_or_a_broken_store_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.run(start={"x": LARGE, "both": LARGE[1:]}, log=True)
    store.run(days=1, start={"both": LARGE[1:]}, log=True)
    store.age()

    def broken(path: str) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="The disk reports an error"):
        patch.setattr(os, "unlink", broken)
        collect_garbage("90d")
    assert check_everything(store)
    assert len(store.payloads()) == 2
    assert collect_garbage().files.count == 1
    assert check_everything(store)


def test_a_place_that_can_only_be_read(store: Store, project: Path) -> None:
    store.run(start={"x": LARGE})
    store.run(days=1)
    store.age()
    store.history.backend.close()
    code = """
        from metaflow import collect_garbage
        from metaflow_core.errors import MetaflowException
        print(collect_garbage("90d", dry_run=True).files.count)
        try: collect_garbage("90d")
        except MetaflowException as error: print(type(error).__name__, error)
    """
    with _read_only(project / ".metaflow"):
        done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "1", done.stderr
    assert lines[1].startswith(MetadataError.__name__)
    assert "read-only" in lines[1] or "you may write to it" in lines[1]
    store.db = store.history.backend.db
    assert store.ids() == ["1", "2"]
    assert check_everything(store)


class _read_only:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        if subprocess.run(["mount", "--bind", self.folder, self.folder], capture_output=True).returncode:
            pytest.skip("mounting takes root")
        subprocess.run(["mount", "-o", "remount,bind,ro", self.folder], check=True)

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", self.folder], check=True)
