"""Namespaces are tags: relative references see only runs in one, absolute ones refuse what is outside."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow_core.errors import (
    MetaflowException,
    MetaflowNamespaceMismatch,
    MetaflowNotFound,
    MetaflowTaggingError,
    MetaflowUnknownUser,
)
from metaflow_core.results import (
    DataArtifact,
    Flow,
    Metaflow,
    Run,
    Step,
    Task,
    default_namespace,
    get_namespace,
    list_namespaces,
    messages,
    namespace,
)


@pytest.fixture
def team(history: Any) -> Any:
    """Anne has runs 1 and 4 of F, Will 2 and 3; run 1 and 3 are tagged xyz, and Will alone has G."""
    history.run(user="anne", tags=["xyz"])
    history.run(user="will")
    history.run(user="will", tags=["xyz"])
    history.run(user="anne", status="failed")
    history.run("G", user="will")
    return history


def ids(runs: Any) -> list[str]:
    return [run.id for run in runs]


# --- the namespace of the process ---


def test_the_default_is_the_identity(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_namespace() == "user:tester"
    assert namespace("user:will") == get_namespace() == "user:will"
    assert namespace(None) is None and get_namespace() is None
    assert default_namespace() == get_namespace() == "user:tester"
    monkeypatch.setenv("METAFLOW_USER", "anne")
    assert get_namespace() == "user:anne"
    monkeypatch.setenv("METAFLOW_PRODUCTION_TOKEN", "F-0-abcd")
    assert default_namespace() == "production:F-0-abcd"


@pytest.mark.parametrize("bad", ["", 5, ["user:anne"], "x" * 501, True])
def test_what_is_no_namespace(history: Any, bad: Any) -> None:
    with pytest.raises(MetaflowException, match="namespace is a tag"):
        namespace(bad)
    assert get_namespace() == "user:tester"


def test_without_a_user_there_is_no_default(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MetaflowUnknownUser, match="export METAFLOW_USER"):
        Flow("F")
    namespace("user:anne")
    with pytest.raises(MetaflowNotFound):
        Flow("F")
    monkeypatch.setenv("METAFLOW_USER", "tester")


# --- what is seen ---


@pytest.mark.parametrize(
    ("ns", "runs", "latest_successful", "flows"),
    [
        ("user:anne", ["4", "1"], "1", ["F"]),
        ("user:will", ["3", "2"], "3", ["G", "F"]),
        ("xyz", ["3", "1"], "3", ["F"]),
        (None, ["4", "3", "2", "1"], "3", ["G", "F"]),
        ("date:2026-01-31", ["4", "3", "2", "1"], "3", ["G", "F"]),
    ],
)
def test_relative_references(
    team: Any, ns: str | None, runs: list[str], latest_successful: str, flows: list[str]
) -> None:
    namespace(ns)
    flow = Flow("F")
    assert ids(flow) == ids(flow.runs()) == runs
    assert (flow.latest_run.id, flow.latest_successful_run.id) == (runs[0], latest_successful)
    assert [flow.id for flow in Metaflow()] == flows


def test_tags_narrow_what_the_namespace_shows(team: Any) -> None:
    namespace("user:anne")
    flow = Flow("F")
    assert ids(flow.runs("xyz")) == ["1"]
    assert ids(flow.runs("xyz", "date:2026-01-31")) == ["1"]
    assert ids(flow.runs("xyz", "user:will")) == []
    namespace(None)
    assert ids(Flow("F").runs("xyz", "user:will")) == ["3"]
    assert ids(Flow("F").runs("no such tag")) == []
    assert ids(Flow("F").runs("xyz", "xyz")) == ["3", "1"]


def test_steps_and_tasks_by_tag(team: Any) -> None:
    namespace(None)
    assert [step.id for step in Run("F/1").steps("xyz", "user:anne")] == ["end", "start"]
    assert list(Run("F/1").steps("xyz", "user:will")) == []
    assert [task.id for task in Step("F/1/start").tasks("xyz")] == ["1"]
    assert list(Step("F/1/start").tasks("other")) == []


@pytest.mark.parametrize("bad", ["", 5, None, "x" * 501])
def test_what_is_no_tag_is_refused(team: Any, bad: Any) -> None:
    namespace(None)
    with pytest.raises(MetaflowTaggingError):
        Flow("F").runs(bad)


@pytest.mark.parametrize(
    "find",
    [
        lambda: Run("F/2"),
        lambda: Flow("F")["2"],
        lambda: Step("F/2/start"),
        lambda: Task("F/2/start/1"),
        lambda: DataArtifact("F/2/start/1/name"),
    ],
)
def test_absolute_references_outside_are_refused_with_the_way_in(team: Any, find: Any) -> None:
    namespace("user:anne")
    said = r"'F/2' is not in the namespace 'user:anne'.*'user:will'.*namespace\(\"user:will\"\).*namespace\(None\)"
    with pytest.raises(MetaflowNamespaceMismatch, match=said):
        find()
    namespace("user:will")
    assert find()
    namespace(None)
    assert find()


def test_a_flow_without_a_run_in_the_namespace(team: Any) -> None:
    namespace("user:anne")
    for find in (lambda: Flow("G"), lambda: Metaflow()["G"]):
        with pytest.raises(MetaflowNamespaceMismatch, match=r"'G'.*'user:anne'.*list_namespaces\(\"G\"\)"):
            find()
    assert "G" not in Metaflow() and "2" not in Flow("F")
    with pytest.raises(MetaflowNotFound):
        Flow("H")


def test_the_advice_can_be_spelt_for_r(team: Any) -> None:
    namespace("user:anne")
    messages.spell(messages.R)
    try:
        with pytest.raises(MetaflowNamespaceMismatch, match=r"set_namespace\(\"user:will\"\).*set_namespace\(NULL\)"):
            Run("F/2")
    finally:
        messages.spell(messages.PYTHON)


def test_an_object_keeps_the_namespace_in_which_it_was_made(team: Any) -> None:
    namespace("user:anne")
    flow, run = Flow("F"), Run("F/1")
    everything = Metaflow()
    namespace("user:will")
    assert ids(flow) == ["4", "1"] and flow.latest_run.id == "4"
    assert [flow.id for flow in everything] == ["F"]
    assert run.parent.latest_run.id == run["start"].parent.parent.latest_run.id == "4"
    with pytest.raises(MetaflowNamespaceMismatch):
        flow["2"]
    assert (run.is_in_namespace(), flow.is_in_namespace(), run["start"].task["name"].is_in_namespace()) == (
        False,
        True,
        False,
    )
    namespace(None)
    assert run.is_in_namespace()


def test_a_tag_moves_a_run_into_a_namespace_and_out_again(team: Any) -> None:
    namespace(None)
    run = Run("F/2")
    run.add_tag("review")
    namespace("review")
    assert ids(Flow("F")) == ["2"]
    run.remove_tag("review")
    with pytest.raises(MetaflowNamespaceMismatch):
        Flow("F")


# --- which there are ---


def test_namespaces_that_exist(team: Any) -> None:
    found = {info.namespace: (info.runs, info.owners) for info in list_namespaces()}
    assert list(found) == ["user:anne", "user:will", "xyz"]
    assert found == {"user:anne": (2, ("anne",)), "user:will": (3, ("will",)), "xyz": (2, ("anne", "will"))}
    assert [info.namespace for info in list_namespaces("G")] == ["user:will"]
    assert "date:2026-01-31" in [info.namespace for info in list_namespaces("G", system=True)]
    namespace(None)
    xyz = list_namespaces("F")[-1]
    assert (xyz.since, xyz.latest) == (Run("F/1").created_at, Run("F/3").created_at)
    with pytest.raises(MetaflowNotFound, match="'Nope'"):
        list_namespaces("Nope")


# --- many runs ---


def test_many_runs_are_read_in_pages_and_none_twice(history: Any) -> None:
    with history.db.transaction():
        for number in range(700):
            history.begin(user="anne" if number % 2 else "will", tags=["third"] if number % 3 == 0 else [])
    namespace(None)
    assert ids(Flow("F")) == [str(n) for n in range(700, 0, -1)]
    namespace("user:anne")
    found = Flow("F").runs("third")
    first = [next(found) for _ in range(3)]
    history.begin(user="anne", tags=["third"])  # a run that starts meanwhile shifts nothing
    assert ids([*first, *found]) == [str(n + 1) for n in range(699, -1, -1) if n % 2 and n % 3 == 0]


def test_a_loop_over_runs_asks_a_few_questions_not_some_per_run(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with history.db.transaction():
        for _ in range(600):
            history.run(tags=["t"])
    asked = []
    execute = type(history.db).execute
    monkeypatch.setattr(type(history.db), "execute", lambda *args: asked.append(args[1]) or execute(*args))
    seen = {(run.id, run.successful, run.user_tags) for run in Flow("F")}
    assert len(seen) == 600 and {tags for _, _, tags in seen} == {frozenset({"t"})}
    assert len(asked) < 20


def test_runs_that_were_kept_show_the_tags_of_now(history: Any) -> None:
    history.run()
    history.run()
    kept = list(Flow("F"))
    Run("F/1").add_tag("new")
    assert [run.id for run in kept if "new" in run.tags] == ["1"]
    for run in Flow("F"):
        Run(run.pathspec).add_tag("in the loop")
        assert "in the loop" in run.tags
    kept = list(Flow("F"))
    history.db.execute("DELETE FROM run_tags WHERE tag = 'new'")  # as another process would
    assert [run.id for run in kept if "new" in run.tags] == []


def test_latest_run_reads_one_row_of_an_index(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost must not grow with the number of runs, so the database may neither scan nor sort."""
    for _ in range(3):
        history.run(tags=["a", "b"])
    statements = []
    execute = type(history.db).execute

    def note(db: Any, sql: str, values: Any = ()) -> Any:
        statements.append((sql, values))
        return execute(db, sql, values)

    monkeypatch.setattr(type(history.db), "execute", note)
    for ns in ("user:tester", None):
        namespace(ns)
        _ = Flow("F").latest_run, Flow("F").latest_successful_run, list(Flow("F").runs("a", "b"))
        _ = Flow("F")["1"].tags, [list(step) for step in Flow("F")["1"]], Flow("F")["1"].data.name
        _ = list(Metaflow())
    plans = [
        (sql, row[3]) for sql, values in statements for row in execute(history.db, f"EXPLAIN QUERY PLAN {sql}", values)
    ]
    assert len(plans) > 30
    # Flows, and the steps of one run, are few: those may be walked and sorted. "s" is a count that stops early.
    slow = [
        (sql, plan)
        for sql, plan in plans
        if ("SCAN" in plan and plan not in ("SCAN f", "SCAN s")) or ("B-TREE" in plan and "GROUP BY step" not in sql)
    ]
    assert slow == []


def test_what_is_far_back_is_found_by_its_rarest_condition(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with history.db.transaction():
        for number in range(1, 701):
            tags = ["common", "usual", *(["rare"] if number in (5, 50) else [])]
            history.begin(tags=tags)
        history.db.execute("UPDATE runs SET status = 'completed' WHERE id IN ('7', '3')")
    walked = []
    execute = type(history.db).execute

    def note(db: Any, sql: str, values: Any = ()) -> Any:
        if "LIMIT ?" in sql:
            walked.append(values[1])
        return execute(db, sql, values)

    monkeypatch.setattr(type(history.db), "execute", note)
    for tags in (("common", "rare"), ("rare", "common"), ("common", "usual", "rare")):
        assert ids(Flow("F").runs(*tags)) == ["50", "5"]
        assert walked[-1] == "rare"
    assert Flow("F").latest_successful_run.id == "7"
    assert walked[-1] == "completed"
    assert [next(Flow("F").runs("common", "usual")).id, walked[-1]] == ["700", "user:tester"]
