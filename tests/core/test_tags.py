"""Tags of runs: what may be changed, that nothing is lost, who changed it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from textwrap import dedent
from typing import Any

import pytest
from metaflow_core.errors import MetadataError, MetaflowTaggingError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.tags import change_tags
from metaflow_core.plugins import manager
from metaflow_core.results import DataArtifact, Flow, Run, Step, Task

SYSTEM = {"user:tester", "runtime:dev", "python_version:3.11.7", "date:2026-01-31"}


@pytest.fixture
def run(history: Any) -> Run:
    history.run(tags=["first"], start={"x": 1})
    return Run("F/1")


def test_a_run_has_user_and_system_tags(run: Run) -> None:
    assert run.user_tags == {"first"}
    assert run.system_tags == SYSTEM
    assert run.tags == {"first"} | SYSTEM
    assert isinstance(run.tags, frozenset)
    assert Flow("F").tags == frozenset()


def test_adding_removing_and_replacing(run: Run) -> None:
    run.add_tag("a")
    run.add_tags(["b", "c", "b"])
    run.add_tags(tag for tag in ["d"])
    assert run.user_tags == {"first", "a", "b", "c", "d"}
    run.remove_tag("a")
    run.remove_tags({"b", "c"})
    assert run.user_tags == {"first", "d"}
    run.replace_tag("d", "e")
    run.replace_tags(["e", "first"], ["f", "g"])
    assert run.user_tags == {"f", "g"}


def test_steps_tasks_and_artifacts_show_the_tags_of_now(run: Run) -> None:
    things = [run["start"], run["start"].task, run["start"].task["x"]]
    run.add_tag("later")
    for thing in [*things, Step("F/1/start"), Task("F/1/start/1"), DataArtifact("F/1/start/1/x")]:
        assert thing.tags == run.tags and thing.user_tags == {"first", "later"} and thing.system_tags == SYSTEM


def test_what_is_there_already_or_absent_changes_nothing(run: Run) -> None:
    before = run.tag_history
    run.add_tag("first")
    run.add_tag("user:tester")
    run.remove_tag("absent")
    assert (run.user_tags, run.system_tags) == ({"first"}, SYSTEM)
    assert run.tag_history == before


def test_in_a_replacement_removing_comes_first(run: Run) -> None:
    run.replace_tags(["first", "x"], ["first", "x"])
    assert run.user_tags == {"first", "x"}
    run.add_tags([f"t{i}" for i in range(48)])
    run.replace_tag("t0", "the fiftieth again")
    assert len(run.user_tags) == 50, "there is room for what comes when something goes"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run.add_tag(""), "empty"),
        (lambda run: run.add_tag(5), "int: 5"),
        (lambda run: run.add_tag(None), "NoneType"),
        (lambda run: run.add_tag("x" * 501), "at most 500.*501"),
        (lambda run: run.add_tag("nul\0"), "valid text"),
        (lambda run: run.add_tags(["good", "\ud800"]), "valid text"),
        (lambda run: run.add_tags([]), "No tag"),
        (lambda run: run.add_tags(5), "list of texts"),
        (lambda run: run.remove_tags(()), "No tag"),
        (lambda run: run.replace_tags([], []), "No tag"),
        (lambda run: run.remove_tag("user:tester"), "System tags.*'user:tester'"),
        (lambda run: run.replace_tags(["first", "runtime:dev"], ["good"]), "System tags.*'runtime:dev'"),
        (lambda run: run.add_tags([f"t{i}" for i in range(50)]), "at most 50.*51"),
    ],
)
def test_what_is_not_allowed_changes_nothing(run: Run, change: Any, said: str) -> None:
    with pytest.raises(MetaflowTaggingError, match=said):
        change(run)
    assert run.user_tags == {"first"}
    assert len(run.tag_history) == 1


def test_the_limits_themselves_are_allowed(run: Run) -> None:
    run.add_tags([f"t{i}" for i in range(49)])
    assert len(run.user_tags) == 50
    run.add_tag("t0")
    run.replace_tag("t0", "y" * 500)
    run.remove_tag("t1")
    assert len(run.user_tags) == 49


@pytest.mark.parametrize(
    "tag", ["ünï 猫", 'it\'s "quoted"', "a b  c", "'; DROP TABLE runs; --", "100%", "../..", "-x", " "]
)
def test_any_text_is_a_tag(run: Run, tag: str) -> None:
    run.add_tag(tag)
    assert tag in run.tags
    assert [found.id for found in Flow("F").runs(tag)] == ["1"]
    run.remove_tag(tag)
    assert list(Flow("F").runs(tag)) == []


def test_a_text_alone_is_one_tag(run: Run) -> None:
    run.add_tags("abc")
    assert run.user_tags == {"first", "abc"}


@pytest.mark.both_databases
def test_history_tells_who_changed_what_when(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.now(timezone.utc)
    monkeypatch.setenv("METAFLOW_USER", "anne")
    run.replace_tags(["first"], ["good"])
    monkeypatch.setenv("METAFLOW_USER", "will")
    run.remove_tag("good")
    seen = [(change.tag, change.action, change.identity) for change in run.tag_history]
    assert seen == [
        ("first", "added", "user:tester"),
        ("first", "removed", "user:anne"),
        ("good", "added", "user:anne"),
        ("good", "removed", "user:will"),
    ]
    times = [change.at for change in run.tag_history]
    assert times == sorted(times) and before <= times[1] <= datetime.now(timezone.utc)


def test_a_tag_changes_nothing_else(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history.run()
    history.run(status="failed")
    history.run()
    old, flow = Run("F/1"), Flow("F")

    def facts() -> list[Any]:
        rows = history.db.execute("SELECT * FROM runs ORDER BY pk")  # owner, times, status, all there is
        return [rows, flow.latest_run.id, flow.latest_successful_run.id, [run.id for run in flow], old.system_tags]

    before = facts()
    monkeypatch.setenv("METAFLOW_USER", "will")
    for change in (old.add_tag, old.remove_tag):
        change("new")
        assert facts() == before


WRITER = """
    import sys
    from metaflow_core.results import Run

    run, me, turns = Run("F/1"), sys.argv[1], int(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()  # so that all begin together
    for turn in range(turns):
        run.add_tag(f"{me} begins")
        run.replace_tag(f"{me} begins", f"{me} ends")
        run.remove_tag(f"{me} ends")
        (run.remove_tag if turn % 2 else run.add_tag)("everybody's")
    run.add_tag(f"{me} is done")
"""


@pytest.mark.slow
def test_sixteen_processes_of_a_thousand_changes_lose_none(run: Run) -> None:
    turns = 250  # of four changes each
    names = [f"w{n}" for n in range(16)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", dedent(WRITER), name, str(turns)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate()[1] for writer in writers] == [""] * 16

    assert run.user_tags - {"everybody's"} == {"first", *(f"{name} is done" for name in names)}
    history = run.tag_history
    there: set[str] = set()
    for change in history:  # each change was made to what the ones before it had left
        assert (change.tag in there) == (change.action == "removed"), change
        there ^= {change.tag}
    assert there == run.user_tags
    times = [change.at for change in history]
    assert times == sorted(times)
    assert {change.identity for change in history} == {"user:tester"}
    own: dict[str, list[str]] = {name: [] for name in names}
    for change in history[1:]:
        writer_name, _, rest = change.tag.partition(" ")
        if writer_name in own:
            own[writer_name].append(f"{change.action} {rest}")
    once = ["added begins", "removed begins", "added ends", "removed ends"]
    assert all(own[name] == [*(once * turns), "added is done"] for name in names)


@pytest.mark.both_databases
def test_a_change_waits_for_another_and_then_sees_it(run: Run, history: Any) -> None:
    run.add_tags([f"t{i}" for i in range(48)])
    other = open_backend()
    refused = []

    def add_one_too_many() -> None:
        try:
            change_tags(other.db, run._row.pk, ["too many"], identity="user:will")
        except MetaflowTaggingError as error:
            refused.append(str(error))

    thread = threading.Thread(target=add_one_too_many)
    with history.db.transaction():
        run.add_tag("the fiftieth")
        thread.start()
        thread.join(0.3)  # it must not get through, however long it tries
        assert thread.is_alive()
    thread.join()
    other.close()
    assert len(refused) == 1 and len(run.user_tags) == 50


@pytest.mark.both_databases
def test_a_change_that_fails_half_way_leaves_nothing(run: Run, history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    executemany = type(history.db).executemany

    def fail_at_events(db: Any, sql: str, rows: Any) -> None:
        if "tag_events" in sql:
            raise MetadataError("the disk is full")
        executemany(db, sql, rows)

    monkeypatch.setattr(type(history.db), "executemany", fail_at_events)
    with pytest.raises(MetadataError):
        run.replace_tags(["first"], ["a", "b"])
    assert run.user_tags == {"first"}


def test_a_run_that_began_with_too_many_tags_can_be_tidied_up(history: Any) -> None:
    history.run(tags=[f"t{i}" for i in range(60)])
    run = Run("F/1")
    run.remove_tags(["t0", "t1"])
    assert len(run.user_tags) == 58
    with pytest.raises(MetaflowTaggingError, match="at most 50"):
        run.replace_tag("t2", "new")


# --- plugins hear of changes ---


class Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str, str, bool]] = []
        self.broken = False

    @hookimpl
    def tag_changed(self, flow_name: str, run_id: str, tag: str, action: str, identity: str) -> None:
        there = tag in Run(f"{flow_name}/{run_id}").tags
        self.seen.append((flow_name, run_id, tag, action, identity, there))
        if self.broken:
            raise RuntimeError("the deployment is down")


@pytest.fixture
def observer() -> Iterator[Observer]:
    observer = Observer()
    manager().register(observer)
    yield observer
    manager().unregister(observer)


def test_plugins_hear_of_a_change_when_it_is_permanent(run: Run, observer: Observer) -> None:
    run.replace_tags(["first"], ["production", "user:tester"])
    assert observer.seen == [
        ("F", "1", "first", "removed", "user:tester", False),
        ("F", "1", "production", "added", "user:tester", True),
    ]


def test_a_plugin_that_fails_undoes_nothing(run: Run, observer: Observer, capsys: pytest.CaptureFixture[str]) -> None:
    observer.broken = True
    run.add_tags(["a", "b"])
    assert run.user_tags == {"first", "a", "b"}
    assert len(observer.seen) == 2
    said = capsys.readouterr().err
    assert "'a'" in said and "the deployment is down" in said
