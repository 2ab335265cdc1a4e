"""The client finds results again: by pathspec, newest first, loading what is asked for and nothing else."""

from __future__ import annotations

import copy
import json
import os
import pickle
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from metaflow_core import results
from metaflow_core.errors import MetaflowException, MetaflowInvalidPathspec, MetaflowNotFound
from metaflow_core.metadata import recording
from metaflow_core.results import DataArtifact, Flow, Metaflow, Run, Step, Task
from metaflow_core.store.logs import LogWriter, log_key
from metaflow_plugins.local_storage import LocalStorage

ERROR = {"type": "ZeroDivisionError", "message": "division by zero", "stacktrace": "  x = 1 / 0", "language": "python"}


# --- going down and up ---


def test_from_all_flows_down_to_a_value(history: Any) -> None:
    history.run("A", start={"x": [1, 2]})
    assert Metaflow()["A"]["1"]["start"]["1"]["x"].data == [1, 2]
    assert Run("A/1")["start"]["1"]["x"].data == [1, 2]
    assert Task("A/1/start/1").data.x == [1, 2]
    assert DataArtifact("A/1/start/1/x").data == [1, 2]
    assert Step("A/1/start").task.data.x == [1, 2]


def test_everything_is_newest_first(history: Any) -> None:
    for flow in ("A", "B", "A"):
        history.run(flow)
    run = history.begin("A")
    for id in ("1", "2", "10"):
        history.task(run, "work", id)
    assert [flow.id for flow in Metaflow()] == [flow.id for flow in Metaflow().flows] == ["B", "A"]
    assert [run.id for run in Flow("A")] == [run.id for run in Flow("A").runs()] == ["3", "2", "1"]
    assert [step.id for step in Run("A/1")] == [step.id for step in Run("A/1").steps()] == ["end", "start"]
    assert [task.id for task in Step("A/3/work")] == ["10", "2", "1"]
    assert Step("A/3/work").task.id == "10"


def test_names_with_an_underscore_are_hidden_but_there(history: Any) -> None:
    history.run(start={"x": 1, "_secret": 2}, parameters={"alpha": 0.5})
    task = Task("F/1/start/1")
    assert [artifact.id for artifact in task] == ["alpha", "name", "x"]
    assert "_parameters" not in [step.id for step in Run("F/1")]
    assert (task["_secret"].data, task.data._secret) == (2, 2)
    assert Run("F/1")["_parameters"].task.data.alpha == 0.5
    assert "_secret" in task and "_parameters" in Run("F/1")


def test_parents_and_ids(history: Any) -> None:
    history.run(start={"x": 1})
    artifact = DataArtifact("F/1/start/1/x")
    chain = [artifact, artifact.parent, artifact.parent.parent, artifact.parent.parent.parent]
    assert [(type(o).__name__, o.id) for o in chain] == [
        ("DataArtifact", "x"),
        ("Task", "1"),
        ("Step", "start"),
        ("Run", "1"),
    ]
    assert artifact.path_components == ["F", "1", "start", "1", "x"]
    assert Run("F/1").parent == Flow("F") and Flow("F").parent is None
    assert [repr(o) for o in (Flow("F"), Run("F/1"), Task("F/1/start/1"), Task("F/1/start/1", attempt=0))] == [
        "Flow('F')",
        "Run('F/1')",
        "Task('F/1/start/1')",
        "Task('F/1/start/1', attempt=0)",
    ]


def test_numbers_and_objects_count_as_ids(history: Any) -> None:
    history.run()
    flow = Flow("F")
    assert flow[1] == flow["1"] == flow[flow.latest_run] == Run("F/1")
    assert 1 in flow and "1" in flow and Run("F/1") in flow
    assert True not in flow and None not in flow and "2" not in flow


def test_equal_objects_and_sets_of_them(history: Any) -> None:
    history.run()
    history.run()
    assert {Run("F/1"), Flow("F")["1"], Run("F/2")} == {Run("F/1"), Run("F/2")}
    assert Task("F/1/start/1") != Task("F/1/start/1", attempt=0)
    assert Run("F/1") != "F/1"


# --- what is not there ---


@pytest.mark.parametrize("cls", [Flow, Run, Step, Task, DataArtifact])
@pytest.mark.parametrize(
    "pathspec", ["", "F/1/2/3/4/5/6", "../../etc", "F/../etc/passwd", "F//", "F/1\n", "F/1/start/1/x/", "ü/-", None, 5]
)
def test_what_is_no_pathspec(history: Any, cls: type, pathspec: Any) -> None:
    history.run()
    with pytest.raises(MetaflowInvalidPathspec, match="pathspec"):
        cls(pathspec)


@pytest.mark.parametrize(
    ("cls", "pathspec", "said"),
    [
        (Flow, "Nope", "no flow 'Nope'.*directory"),
        (Run, "Nope/1", "no flow 'Nope'"),
        (Run, "F/99", "no run 'F/99'"),
        (Step, "F/1/nope", "no step 'F/1/nope'.*end, start"),
        (Task, "F/1/start/9", "no task 'F/1/start/9'"),
        (DataArtifact, "F/1/start/1/nope", "'F/1/start/1' has no artifact 'nope'.*name, x"),
        (Step, "F/1/größe", "größe"),
        (Run, "F/" + "r" * 200, "rrrr"),
    ],
)
def test_what_does_not_exist_is_named(history: Any, cls: type, pathspec: str, said: str) -> None:
    history.run(start={"x": 1})
    with pytest.raises(MetaflowNotFound, match=said):
        cls(pathspec)


def test_missing_children_are_key_errors_and_missing_values_attribute_errors(history: Any) -> None:
    history.run(start={"x": 1})
    task = Task("F/1/start/1")
    for parent, key in [(Metaflow(), "Nope"), (Flow("F"), "9"), (Flow("F"), "../.."), (Run("F/1"), "no"), (task, "no")]:
        with pytest.raises(KeyError, match=key):
            parent[key]
        assert key not in parent
    with pytest.raises(AttributeError, match=r"no artifact 'nope'.*It has: name, x"):
        _ = task.data.nope
    assert not hasattr(task.data, "__array__")


def test_a_run_that_just_started_has_nothing_yet(history: Any) -> None:
    history.begin()
    run = Run("F/1")
    assert (list(run), run.end_task, run.data, run.finished_at) == ([], None, None, None)
    assert (run.status, run.successful, run.finished, run.code, run.trigger) == ("running", False, False, None, None)


# --- one artifact and no other ---


def test_reading_one_artifact_reads_no_other(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history.run(start={"big": list(range(3000)), "other": list(range(3000, 6000))})
    reads = []
    read = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, key, *part: reads.append(key) or read(self, key, *part))
    data = Run("F/1")["start"].task.data
    assert repr(data) == "<MetaflowData: big, name, other>"
    assert (set(data), "big" in data, "nope" in data) == ({"big", "name", "other"}, True, False)
    assert reads == []
    assert data.big[-1] == data.big[-1] == 2999
    assert len(reads) == 1


def test_parameters_are_artifacts_of_every_task(history: Any) -> None:
    history.run(parameters={"alpha": 0.5, "beta": 1}, start={"beta": 2})
    run = Run("F/1")
    assert (run["start"].task.data.alpha, run["start"].task.data.beta) == (0.5, 2)
    assert (run.data.alpha, run.data.beta, run.data.name) == (0.5, 1, "F")
    assert DataArtifact("F/1/end/2/alpha").pathspec == "F/1/end/2/alpha"


def test_facts_about_an_artifact(history: Any) -> None:
    history.run(start={"x": list(range(5000)), "same": list(range(5000)), "zero": -0.0})
    task = Task("F/1/start/1")
    x = task.artifacts.x
    assert (x.type, x.language) == ("list", "python")
    assert x.size > 4096 and x.sha == task["same"].sha != task["zero"].sha
    assert len(x.to_arrow()) == 5000
    assert x.finished_at == task.finished_at
    assert str(task.data.zero) == "-0.0"
    assert {artifact.id for artifact in task.artifacts} == {"name", "same", "x", "zero"}
    with pytest.raises(AttributeError, match="no artifact 'y'"):
        _ = task.artifacts.y


def test_an_artifact_whose_file_is_gone_is_named(history: Any) -> None:
    history.run(start={"x": list(range(5000))})
    for file in Path(".metaflow/data").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(MetaflowException, match="F/1/start/1/x"):
        _ = Task("F/1/start/1").data.x


# --- how runs and tasks went ---


def test_the_data_of_a_run_is_that_of_its_last_step(history: Any) -> None:
    history.run(start={"x": 1}, end={"x": 2})
    history.run(start={"x": 1}, status="failed")
    assert Run("F/1").data.x == 2
    assert Run("F/1").end_task == Task("F/1/end/2")
    assert Run("F/2").end_task is None and Run("F/2").data is None


def test_an_end_step_of_another_name(history: Any) -> None:
    run = history.begin()
    graph = {"steps": {"begin": {"type": "start"}, "fin": {"type": "end"}}}
    history.db.execute("UPDATE graphs SET graph = ?", (json.dumps(graph),))
    history.task(run, "fin", "2", artifacts={"x": 7})
    assert Run("F/1").data.x == 7


@pytest.mark.parametrize("status", ["completed", "failed", "interrupted"])
def test_a_run_that_ended(history: Any, status: str) -> None:
    history.run(status=status)
    run = Run("F/1")
    assert run.status == status
    assert run.successful == run.finished == (status == "completed")
    assert run.created_at <= run.finished_at <= datetime.now(timezone.utc)


def test_an_object_made_while_the_run_ran_sees_it_end(history: Any) -> None:
    row = history.begin()
    task_row = history.task(row, "end", "2", status=None)
    run, task = Run("F/1"), Task("F/1/end/2")
    assert (run.finished, task.finished, task.finished_at, run.end_task) == (False, False, None, None)
    history.end_attempt(task_row, 0, "done", {"x": 1})
    recording.finish_run(history.db, row.pk, "completed")
    assert (run.finished, task.finished, task.successful, run.data.x) == (True, True, True, 1)


def test_latest_and_latest_successful(history: Any) -> None:
    for status in ("completed", "completed", "failed", "running"):
        history.run(status=status)
    assert (Flow("F").latest_run.id, Flow("F").latest_successful_run.id) == ("4", "2")
    history.run("G", status="failed")
    assert Flow("G").latest_successful_run is None


def test_times_are_in_utc_and_say_so(history: Any) -> None:
    before = datetime.now(timezone.utc)
    history.run()
    for thing in (Flow("F"), Run("F/1"), Step("F/1/start"), Task("F/1/start/1"), Task("F/1/start/1")["name"]):
        assert thing.created_at.utcoffset() == timedelta(0)
        assert before <= thing.created_at <= thing.finished_at <= datetime.now(timezone.utc)


def test_attempts(history: Any) -> None:
    run = history.begin()
    task = history.task(run, "start", "1", [], {"x": 1, "only_first": 1}, status="failed", error=ERROR)
    first = Task("F/1/start/1")
    assert (first.status, first.finished, first.successful, first.current_attempt) == ("failed", False, False, 0)
    assert (first.exception.type, first.exception.exception) == ("ZeroDivisionError", "division by zero")
    assert "x = 1 / 0" in first.exception.stacktrace
    recording.start_attempt(history.db, task, 1)
    assert (first.status, first.current_attempt, first.exception) == ("running", 1, None)
    history.end_attempt(task, 1, "done", {"x": 2}, facts={"note": "second"})
    assert (first.successful, first.exception, first.data.x, "only_first" in first) == (True, None, 2, False)
    old = Task("F/1/start/1", attempt=0)
    assert (old.status, old.data.x, old.exception.type) == ("failed", 1, "ZeroDivisionError")
    assert DataArtifact("F/1/start/1/only_first", attempt=0).data == 1
    assert (old.metadata_dict, first.metadata_dict) == ({}, {"note": "second"})
    assert first.metadata[0].task == first and first.metadata[0].name == "note"
    with pytest.raises(MetaflowNotFound, match=r"no attempt 2\. It had 2 attempts, 0 to 1"):
        Task("F/1/start/1", attempt=2)


def test_a_failure_that_was_caught(history: Any) -> None:
    run = history.begin()
    history.task(run, "start", "1", status="caught", error=ERROR)
    task = Task("F/1/start/1")
    assert (task.finished, task.successful, task.exception.type) == (True, False, "ZeroDivisionError")


# --- a driver that was killed ---


def driver(history: Any, **changes: Any) -> str:
    """The status of a run with this driver."""
    run = history.run(status="running", host=os.uname().nodename, pid=os.getpid())
    for column, value in changes.items():
        history.db.execute(f"UPDATE runs SET {column} = ? WHERE pk = ?", (value, run.pk))
    found = Run(f"F/{run.id}")
    assert not found.finished and not found.successful
    return found.status


def ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1e6)


def test_a_run_whose_driver_was_killed_is_lost(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = 2**22 + 1  # larger than any process id on Linux
    assert driver(history) == "running"
    assert driver(history, pid=nobody) == "lost"
    assert driver(history, pid=nobody, host="elsewhere") == "running"
    assert driver(history, host="elsewhere", heartbeat_at=ago(50)) == "running"
    assert driver(history, host="elsewhere", heartbeat_at=ago(70)) == "lost"
    assert driver(history, heartbeat_at=ago(70)) == "lost"
    assert driver(history, heartbeat_at=None, created_at=ago(70)) == "lost"
    assert driver(history, pid=None, heartbeat_at=None, created_at=ago(10**6)) == "running"
    monkeypatch.setenv("METAFLOW_HEARTBEAT_SECONDS", "100")
    assert driver(history, host="elsewhere", heartbeat_at=ago(500)) == "running"
    assert driver(history, host="elsewhere", heartbeat_at=ago(700)) == "lost"


# --- how tasks hang together ---


@pytest.fixture
def foreach(history: Any) -> Run:
    """start -> three of work -> join, beside a hidden branch that was not taken."""
    run = history.begin()
    start = history.task(run, "start", "1", [run.parameters_pk])
    work = [history.task(run, "work", str(2 + i), [start], {"x": i}, index=i) for i in range(3)]
    history.task(run, "join", "5", work)
    return Run("F/1")


def test_parents_and_children(foreach: Run) -> None:
    join, work, start = foreach["join"], foreach["work"], foreach["start"]
    assert [step.id for step in join.parent_steps] == ["work"]
    assert [step.id for step in work.parent_steps] == ["start"] and [s.id for s in work.child_steps] == ["join"]
    assert list(start.parent_steps) == [] and list(join.child_steps) == []
    assert [task.id for task in join.task.parent_tasks] == ["2", "3", "4"]
    assert [task.id for task in start.task.child_tasks] == ["2", "3", "4"]
    assert list(start.task.parent_tasks) == []
    assert [task.parent for task in work.task.child_tasks] == [join]


def test_the_index_in_a_foreach(foreach: Run) -> None:
    assert {task.index: task.data.x for task in foreach["work"]} == {0: 0, 1: 1, 2: 2}
    assert foreach["start"].task.index is None


def test_a_step_ends_with_its_last_task(history: Any, foreach: Run) -> None:
    step = foreach["work"]
    assert step.finished_at == max(task.finished_at for task in step)
    history.task(recording.find_run(history.db, "F", "1"), "work", "9", status=None)
    assert step.finished_at is None


def test_more_tasks_than_a_page(history: Any) -> None:
    run = history.begin()
    with history.db.transaction():
        for number in range(1200):
            recording.create_task(history.db, run.pk, "work", str(number), [], number, [])
    assert [int(task.id) for task in Step("F/1/work")] == list(range(1199, -1, -1))


def test_what_a_step_ran_with(history: Any) -> None:
    history.run()
    assert Step("F/1/end").environment_info == {"language": "r", "python_version": "3.11.7"}
    assert Task("F/1/end/2").runtime_name == "dev"


# --- resumed runs ---


def test_a_resumed_run_knows_its_origin(history: Any) -> None:
    origin = history.run(start={"x": 1})
    clone = history.begin(origin_run_id=origin.id)
    pk = recording.find_task(history.db, origin.pk, "start", "1").pk
    task = history.task(clone, "start", "1", [], {"x": 1})
    history.db.execute("UPDATE tasks SET origin_task_pk = ? WHERE pk = ?", (pk, task))
    history.task(clone, "end", "2")
    assert Run("F/2").origin_pathspec == "F/1"
    assert Step("F/2/start").origin_pathspec == "F/1/start"
    assert Task("F/2/start/1").origin_pathspec == "F/1/start/1"
    assert DataArtifact("F/2/start/1/x").origin_pathspec == "F/1/start/1/x"
    own = (Run("F/1"), Step("F/1/start"), Step("F/2/end"), Task("F/2/end/2"), DataArtifact("F/1/start/1/x"), Flow("F"))
    assert [thing.origin_pathspec for thing in own] == [None] * 6


def test_a_task_that_was_taken_over_twice_has_the_log_of_the_first(history: Any) -> None:
    pks = []
    for _ in range(3):
        pks.append(history.task(history.begin(), "start", "1"))
    for pk, origin in zip(pks[1:], pks[:-1], strict=True):
        history.db.execute("UPDATE tasks SET origin_task_pk = ? WHERE pk = ?", (origin, pk))
    write_log(history, "F", "1", "start", "1", 0, [("stdout", b"hello\n")])
    assert Task("F/3/start/1").stdout == Task("F/1/start/1").stdout == "hello\n"
    assert Task("F/3/start/1").origin_pathspec == "F/2/start/1"


# --- logs ---


def write_log(history: Any, flow: str, run: str, step: str, task: str, attempt: int, lines: Any) -> None:
    writer = LogWriter(history.storage, log_key(flow, run, step, task, attempt), 10**7)
    for second, (stream, text) in enumerate(lines):
        writer.write(stream, text, second * 1_000_000)
    writer.close()


def test_what_a_task_wrote(history: Any) -> None:
    history.run()
    lines = [("stdout", "Grüße\n".encode()), ("stderr", b"oh\n"), ("stdout", b"  * \xff raw\n"), ("stdout", b"no end")]
    write_log(history, "F", "1", "start", "1", 0, lines)
    task = Task("F/1/start/1")
    assert task.stdout == "Grüße\n  * \N{REPLACEMENT CHARACTER} raw\nno end"
    assert task.stderr == "oh\n"
    found = list(task.loglines("stdout"))
    assert found[0] == (datetime(1970, 1, 1, tzinfo=timezone.utc), "Grüße") and found[-1][1] == "no end"
    assert [text for _, text in task.loglines("stdout", as_unicode=False)][1] == b"  * \xff raw"
    with pytest.raises(MetaflowException, match=r"stdout.*stderr.*'both'"):
        task.loglines("both")


def test_a_task_that_wrote_nothing(history: Any) -> None:
    history.run()
    assert (Task("F/1/start/1").stdout, list(Task("F/1/start/1").loglines("stderr"))) == ("", [])


def test_each_attempt_has_its_log(history: Any) -> None:
    task = history.task(history.begin(), "start", "1", status="failed")
    recording.start_attempt(history.db, task, 1)
    write_log(history, "F", "1", "start", "1", 0, [("stdout", b"first\n")])
    write_log(history, "F", "1", "start", "1", 1, [("stdout", b"second\n")])
    assert (Task("F/1/start/1").stdout, Task("F/1/start/1", attempt=0).stdout) == ("second\n", "first\n")


# --- pickling ---


def test_objects_survive_pickling(history: Any) -> None:
    history.run(start={"x": 5}, tags=["t"])
    results.namespace("t")
    things = [Flow("F"), Run("F/1"), Step("F/1/start"), Task("F/1/start/1"), Task("F/1/start/1", attempt=0)]
    things.append(DataArtifact("F/1/start/1/x"))
    results.default_namespace()
    for thing in things:
        again = pickle.loads(pickle.dumps(thing))
        assert again == thing and type(again) is type(thing) and copy.deepcopy(thing) == thing
    assert pickle.loads(pickle.dumps(things[-1])).data == 5
    assert pickle.loads(pickle.dumps(things[3].data)).x == 5
    results.namespace("t")
    everything = pickle.dumps(results.Metaflow())
    results.namespace("other")
    assert list(pickle.loads(everything)) == [Flow("F", _namespace_check=False)]
    results.default_namespace()
    flow = pickle.loads(pickle.dumps(things[0]))
    Run("F/1").remove_tag("t")
    assert flow.latest_run is None  # it still looks into the namespace in which it was made


# --- other projects ---


def test_another_project_can_be_read(history: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history.run(start={"x": list(range(5000))})
    here = Path.cwd()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".metaflow").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert results.default_metadata() == results.get_metadata() == f"local@{elsewhere}"
    assert list(Metaflow()) == []
    for spec in (f"local@{here}", str(here), f"{here}/.metaflow", f"sqlite:///{here}/.metaflow/metaflow.db"):
        assert results.metadata(spec) == f"local@{here}"
        assert Task("F/1/start/1").data.x[-1] == 4999
    kept = pickle.dumps(Run("F/1"))
    assert results.default_metadata() == f"local@{elsewhere}"
    assert pickle.loads(kept)["start"].task.data.x[-1] == 4999
    for bad, said in [
        (f"{tmp_path}/nowhere", "nowhere/.metaflow"),
        (f"sqlite:///{tmp_path}/nowhere/metaflow.db", r"no file .*nowhere"),
        ("mysql://x/y", "mysql://x/y"),
        ("service@http://x", r"kind.*'service'"),
        ("", "''"),
    ]:
        with pytest.raises(MetaflowException, match=said):
            results.metadata(bad)
        assert results.get_metadata() == f"local@{elsewhere}"
    assert not (tmp_path / "nowhere").exists()


# --- notebooks ---


def test_html_shows_what_matters_and_escapes_it(history: Any) -> None:
    run = history.run(tags=["<b>bold</b>"], start={"x": 1})
    history.task(run, "start", "9", status="failed", error={**ERROR, "message": "<script>"})
    shown = Run("F/1")._repr_html_()
    assert "completed" in shown and "&lt;b&gt;bold" in shown and "start" in shown and "_parameters" not in shown
    task = Task("F/1/start/9")._repr_html_()
    assert "&lt;script&gt;" in task and "ZeroDivisionError" in task
    for thing in (Metaflow(), Flow("F"), Flow("F").runs(), Step("F/1/start"), Task("F/1/start/1")["x"]):
        html = thing._repr_html_()
        assert html.count("<table>") == html.count("</table>") > 0
        assert "<b>" not in html and "<script>" not in html


def test_a_long_list_of_runs_is_cut_in_html(history: Any) -> None:
    for _ in range(25):
        history.begin()
    runs = Flow("F").runs()
    assert runs._repr_html_().count("<tr>") == 21
    assert len(list(runs)) == 25
