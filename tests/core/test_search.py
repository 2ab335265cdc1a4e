"""Searching for runs by values, tags, status, user and time."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from metaflow_core.errors import InvalidSearch, MetaflowException, MetaflowNotFound
from metaflow_core.metadata import search as strategies
from metaflow_core.results import Flow, Metaflow, Run, list_tags, namespace

SECOND = 1_000_000
DAY = 86400 * SECOND


def ids(found: Any) -> list[str]:
    return [run.id for run in found]


@pytest.fixture
def trained(history: Any) -> Flow:
    """Runs of F: 1 to 3 of the tester, 4 of Will, 5 failed before its end, 6 without values."""
    history.run(parameters={"alpha": 0.1, "debug": False}, end={"accuracy": 0.8, "model": "forest"}, tags=["a"])
    history.run(parameters={"alpha": 0.5, "debug": True}, end={"accuracy": 0.95, "model": "linear"}, tags=["a", "b"])
    history.run(
        parameters={"alpha": 0.5, "debug": False}, end={"accuracy": 0.9, "model": 'für\'d "x" 日本'}, tags=["c"]
    )
    history.run(parameters={"alpha": 0.7, "debug": False}, end={"accuracy": 0.99, "model": "forest"}, user="will")
    history.run(parameters={"alpha": 0.9, "debug": True}, status="failed", tags=["b"])
    history.run(status="interrupted")
    return Flow("F")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", "653 21"),
        ("accuracy > 0.85", "32"),
        ("accuracy >= 0.9 and alpha == 0.5", "32"),
        ("accuracy > 0.9 and (alpha == 0.5 or not debug)", "2"),
        ("accuracy > 0.9 && (alpha = 0.5 || !debug)", "2"),
        ("accuracy > 0.9 & (alpha == 0.5 | !debug)", "2"),
        ("0.8 < accuracy <= .95e0", "32"),
        ("0.9 == accuracy", "3"),
        ("alpha in (0.1, 0.9)", "51"),
        ("alpha %in% c(0.1, 0.9,)", "51"),
        ("alpha in [1, 2]", ""),
        ("model == 'forest' or model == \"linear\"", "21"),
        ("model in ('forest', 0.5)", "1"),
        ("model like 'f%'", "31"),
        ("model like 'F%'", ""),
        ("model like '_orest'", "1"),
        ("model contains 'ore'", "1"),
        ("'ore' in model", "1"),
        ("model contains '%'", ""),
        ("model == 'für''d \"x\" 日本'", "3"),
        ("model == 'f\\u00fcr\\'d \"x\" 日本'", "3"),
        ("model > 'g'", "2"),
        # What a run lacks compares with nothing, and so is not less than something either.
        ("not accuracy > 0.85", "6 5 1"),
        ("accuracy != 0.8", "32"),
        ("accuracy <> 0.8", "32"),
        ("alpha not in (0.1, 0.9)", "32"),
        ("not alpha in (0.1, 0.9)", "6 32"),
        ("model not like 'f%'", "2"),
        ("accuracy is null", "65"),
        ("accuracy is not None and alpha != NA", "321"),
        ("accuracy = NULL", "65"),
        # Texts are compared with texts, numbers with numbers; true is 1.
        ("alpha > 'a'", ""),
        ("alpha != 'a'", "5321"),
        ("model != 3", "321"),
        ("model > 0", ""),
        ("debug", "52"),
        ("not debug", "6 31"),
        ("debug == TRUE", "52"),
        ("debug == false", "31"),
        ("alpha == True", ""),
        ("model", "321"),
        ("true", "653 21"),
        ("false", ""),
        ("tag == 'a'", "21"),
        ("'a' in tags and not 'b' in tags", "1"),
        ("tags contains 'a'", "21"),
        ("tag != 'a'", "653"),
        ("tag in ('b', 'c')", "532"),
        ("tag like 'user:%'", "653 21"),
        ("status == 'failed'", "5"),
        ("status != 'completed'", "65"),
        ("status in ('failed', 'interrupted')", "65"),
        ("user == 'will'", ""),
        ("user != 'will'", "65321"),
        ("duration < '1h' and duration >= 0", "65321"),
        ("finished_at is null", ""),
        ("created_at > '1 day ago'", "65321"),
        ("created_at == 'today' or created_at == 'yesterday'", "65321"),
        ("`alpha` > 0.5 AND NOT Debug IS NULL", None),
        ("alpha > -inf and alpha < Inf", "5321"),
        ("alpha > 1e400", ""),
        ("alpha < 1" + "0" * 500, "5321"),
        ("1; DROP TABLE runs", None),
        ("model == ''' OR 1 = 1 --'", ""),
        ("model == 'x'' OR ''1'' = ''1'", ""),
    ],
)
def test_expressions(trained: Flow, where: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidSearch):
            trained.search(where)
        return
    assert ids(trained.search(where)) == list(expected.replace(" ", ""))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"tags": "a"}, "21"),
        ({"tags": ["a", "b"]}, "2"),
        ({"any_tags": ["a", "b"]}, "521"),
        ({"no_tags": ["a", "b"]}, "63"),
        ({"tags": ["b"], "no_tags": "a", "where": "debug"}, "5"),
        ({"status": "completed"}, "321"),
        ({"status": ["failed", "interrupted"]}, "65"),
        ({"user": "will"}, ""),
        ({"user": "will", "namespace": None}, "4"),
        ({"user": ["will", "tester"], "namespace": None, "limit": 3}, "654"),
        ({"namespace": "user:will"}, "4"),
        ({"namespace": "b"}, "52"),
        ({"order_by": "oldest", "limit": 2}, "12"),
        ({"order_by": "accuracy"}, "13265"),
        ({"order_by": "-accuracy"}, "23165"),
        ({"order_by": "accuracy desc", "where": "accuracy < 0.95"}, "31"),
        ({"order_by": "alpha", "namespace": None}, "1234 56"),
        ({"order_by": "-alpha", "namespace": None}, "543216"),
        ({"order_by": "model"}, "13265"),
        ({"order_by": "-accuracy", "limit": 2, "page": 2}, "16"),
        ({"limit": 2, "page": 2}, "32"),
        ({"limit": 2, "page": 9}, ""),
        ({"limit": 2**31 - 1, "page": 2**31 - 1}, ""),
        ({"limit": 2**31 - 1, "page": 2**31 - 1, "order_by": "alpha", "where": "debug"}, ""),
        ({"after": "5"}, "321"),
        ({"after": 5, "order_by": "oldest"}, "6"),
        ({"after": "F/2", "order_by": "-accuracy"}, "3165"),
        ({"after": "6", "order_by": "-accuracy"}, "5"),
        ({"since": "1h"}, "65321"),
        ({"since": timedelta(hours=1), "until": "now"}, "65321"),
        ({"since": "tomorrow"}, None),
        ({"until": "1h"}, ""),
        ({"since": date(2020, 1, 1)}, "65321"),
        ({"until": date.today()}, "65321"),
        ({"until": datetime(2020, 1, 1, tzinfo=timezone.utc)}, ""),
    ],
)
def test_arguments(trained: Flow, asked: dict[str, Any], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidSearch, match="since = 'tomorrow': This is no time"):
            trained.search(**asked)
        return
    assert ids(trained.search(**asked)) == list(expected.replace(" ", ""))


def test_days_are_those_of_the_time_zone(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        history.run()
    moments = ["2026-01-30T22:59:59", "2026-01-30T23:00:00", "2026-01-31T22:59:59", "2026-01-31T23:00:00"]
    for pk, text in enumerate(moments, start=1):
        at = datetime.fromisoformat(text + "+00:00").timestamp()
        history.db.execute("UPDATE runs SET created_at = ? WHERE pk = ?", (int(at * SECOND), pk))
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        flow = Flow("F")
        assert ids(flow.search(since="2026-01-31", until="2026-01-31")) == ["3", "2"]
        assert ids(flow.search("created_at == '2026-01-31'")) == ["3", "2"]
        assert ids(flow.search("created_at > '2026-01-31'")) == ["4"]
        assert ids(flow.search("created_at >= '2026-01-31'")) == ["4", "3", "2"]
        assert ids(flow.search("created_at < '2026-01-31'")) == ["1"]
        assert ids(flow.search("created_at <= '2026-01-31'")) == ["3", "2", "1"]
        assert ids(flow.search("created_at != '2026-01-31'")) == ["4", "1"]
        assert ids(flow.search(until=date(2026, 1, 30))) == ["1"]
        for same in (
            "2026-01-31 00:00",
            "2026-01-31T00:00:00",
            "2026-01-30T23:00Z",
            "2026-01-31 01:00+02:00",
            "2026-01-31T01:00:00.0+0200",
        ):
            assert ids(flow.search(since=same)) == ["4", "3", "2"], same
            assert ids(flow.search(until=same)) == ["2", "1"], same
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.both_databases
def test_numbers_are_compared_exactly(history: Any) -> None:
    big = 2**53
    for value in (big, big + 1, 2**63 - 1, -(2**63) + 1, math.inf, -math.inf, math.nan, 0.1 + 0.2, True):
        history.run(end={"x": value})
    flow = Flow("F")
    for where, expected in [
        (f"x == {big + 1}", "2"),
        (f"x > {big}", "532"),
        (f"x == {2**63 - 1}", "3"),
        (f"x > {2**63 - 1}", "5"),
        (f"x == {2**63}", ""),
        (f"x < -{2**53}", "64"),
        ("x == inf", "5"),
        ("x == -Inf", "6"),
        ("x is null", "7"),
        ("x == 0.3", ""),
        ("x == 0.30000000000000004", "8"),
        ("x = 1", "9"),
        ("x != 1", "8654321"),
        ("x", "98654321"),
    ]:
        assert ids(flow.search(where)) == list(expected), where
    table = flow.search("x > 0 or x <= 0 or x is null").to_frame()
    values = list(table["x"])[::-1]
    assert values[4] == math.inf and math.isnan(values[6]) and values[7] == 0.1 + 0.2
    exact = flow.search(f"x >= {big} and x < {2**63 - 1} or x = {2**63 - 1}", order_by="oldest").to_frame()
    assert list(exact["x"]) == [big, big + 1, 2**63 - 1]
    assert ids(flow.search(order_by="x")) == list("648912357")


@pytest.mark.both_databases
def test_lost_and_running(history: Any) -> None:
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    here = os.uname().nodename
    history.run(status="running", host=here, pid=os.getpid())
    history.run(status="running", host=here, pid=gone)
    history.run(status="running", host="elsewhere", pid=os.getpid())
    history.run(status="running", host="elsewhere", pid=5)
    history.run(status="running")
    history.run()
    history.db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - ? WHERE id = '4'", (DAY,))
    history.db.execute("UPDATE runs SET heartbeat_at = NULL, created_at = created_at - ? WHERE id = '5'", (DAY,))
    flow = Flow("F")
    assert ids(flow.search(status="lost")) == ["4", "2"] == [run.id for run in flow if run.status == "lost"]
    assert ids(flow.search(status="running")) == ["5", "3", "1"] == [run.id for run in flow if run.status == "running"]
    assert ids(flow.search("status in ('lost', 'completed')")) == ["6", "4", "2"]
    assert ids(flow.search("status != 'lost'")) == ["6", "5", "3", "1"]
    assert ids(Metaflow().search(status="lost")) == ["4", "2"]
    assert list(flow.search(status="lost").to_frame()["status"]) == ["lost", "lost"]


def test_values_of_a_run_that_goes_on_are_its_parameters(history: Any) -> None:
    run = history.run(status="running", parameters={"alpha": 1}, start={"accuracy": 0.5})
    flow = Flow("F")
    assert ids(flow.search("alpha == 1")) == ["1"]
    with pytest.raises(InvalidSearch, match="accuracy"):
        flow.search("accuracy > 0")
    from metaflow_core.metadata import recording

    recording.finish_run(history.db, run.pk, "failed")
    assert ids(flow.search("accuracy > 0")) == ["1"]


def test_what_a_search_gives(trained: Flow) -> None:
    found = trained.search("accuracy > 0.85", tags="a")
    assert repr(found) == "<runs of F, with 'accuracy > 0.85', tags = 'a', in the namespace 'user:tester'>"
    assert ids(found) == ids(found) == ["2"]  # each iteration reads anew
    assert all(isinstance(run, Run) for run in found)
    assert next(iter(found)).data.model == "linear"
    assert "<td" in found._repr_html_() and "&gt;" in found._repr_html_()
    Run("F/1").add_tag("later")
    assert ids(trained.search(tags="later")) == ["1"]


def test_a_table(trained: Flow) -> None:
    table = trained.search("accuracy > 0.5", order_by="-alpha").to_frame()
    assert list(table) == [
        *("flow", "id", "status", "user", "created_at", "finished_at", "duration", "tags", "accuracy", "alpha")
    ]
    assert list(table["id"]) == ["3", "2", "1"]
    assert table["tags"][1] == ["a", "b"]
    assert (
        str(table["created_at"].dt.tz) == "UTC"
        and (table["finished_at"] - table["created_at"] == table["duration"]).all()
    )
    everything = trained.search().to_frame("*")
    assert list(everything["debug"]) == [None, True, False, True, False] or everything["debug"].isna()[0]
    assert list(everything)[8:] == ["accuracy", "alpha", "debug", "model", "name"]
    assert list(trained.search(limit=1).to_frame(["model", "alpha"]))[8:] == ["model", "alpha"]
    with pytest.raises(InvalidSearch, match="Did you mean `model`"):
        trained.search().to_frame("modle")
    empty = trained.search("accuracy > 5").to_frame()
    assert len(empty) == 0 and list(empty)[-1] == "accuracy"
    assert empty["created_at"].dtype == table["created_at"].dtype


def test_all_flows(history: Any) -> None:
    for number in range(4):
        history.run("F" if number % 2 else "G", end={"x": number}, user="will" if number == 3 else "tester")
    history.run("H", end={"y": 1}, user="will")
    assert [run.pathspec for run in Metaflow().search()] == ["G/2", "F/1", "G/1"]
    namespace(None)
    everything = Metaflow()
    assert [run.pathspec for run in everything.search()] == ["H/1", "F/2", "G/2", "F/1", "G/1"]
    assert [run.pathspec for run in everything.search("x > 0", order_by="-x")] == ["F/2", "G/2", "F/1"]
    assert [run.pathspec for run in everything.search(limit=2, after="G/2")] == ["F/1", "G/1"]
    assert list(everything.search("x >= 0").to_frame()["flow"]) == ["F", "G", "F", "G"]
    assert ids(everything.search(user="will", tags="runtime:dev")) == ["1", "2"]
    with pytest.raises(InvalidSearch, match="No run has a parameter or a scalar artifact `z`"):
        everything.search("z > 1")
    with pytest.raises(MetaflowNotFound, match="after = '2'"):
        everything.search(after="2")


@pytest.mark.both_databases
def test_pages_do_not_shift_while_runs_start(history: Any) -> None:
    for number in range(60):
        history.run(end={"x": number % 7})
    flow = Flow("F")
    found = iter(flow.search("x >= 0"))
    first = [next(found).id for _ in range(20)]
    history.run(end={"x": 1})
    assert [*first, *ids(found)] == [str(number) for number in range(60, 0, -1)]
    page = ids(flow.search("x >= 0", order_by="x", limit=10, after="1"))
    assert len(page) == 10
    history.run(end={"x": -1})
    assert ids(flow.search("x >= 0", order_by="x", limit=10, after="1")) == page
    with pytest.raises(MetaflowNotFound, match=r"after = '99'.*'F/99'"):
        flow.search(after="99")


def test_tags_that_there_are(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history.run(tags=["b"])
    history.run(user="will", tags=["a", "b"])
    history.run("G", tags=["b"])
    monkeypatch.setenv("METAFLOW_USER", "zoe")
    namespace(None)
    Run("F/1").add_tag("a")
    Run("F/1").add_tag("gone")
    Run("F/1").remove_tag("gone")
    found = {info.tag: info for info in list_tags("F")}
    assert {tag: (info.runs, info.by) for tag, info in found.items()} == {
        "a": (2, ("user:will", "user:zoe")),
        "b": (2, ("user:tester", "user:will")),
    }
    assert found["b"].since == Run("F/1").created_at and found["b"].latest == Run("F/2").created_at
    assert [info.runs for info in list_tags() if info.tag == "b"] == [3]
    system = {info.tag: info for info in list_tags(system=True)}
    assert system["runtime:dev"].runs == 3 and system["user:will"].by == ("user:will",)
    with pytest.raises(MetaflowNotFound, match="'Nope'"):
        list_tags("Nope")


# --- every strategy finds the same -----------------------------------------------------------------------------------


class Row(NamedTuple):
    pk: int
    tags: set[str]
    values: dict[str, Any]
    status: str


Oracle = Callable[[Row], bool]
ATOMS: list[tuple[str, Oracle]] = [
    ("'even' in tags", lambda row: "even" in row.tags),
    ("'odd' in tags", lambda row: "odd" in row.tags),
    ("'rare' in tags", lambda row: "rare" in row.tags),
    ("'none' in tags", lambda row: False),
    ("status == 'failed'", lambda row: row.status == "failed"),
    ("x > 50", lambda row: row.values.get("x", -1) > 50),
    ("x <= 3", lambda row: row.values.get("x", 99) <= 3),
    ("x == 7", lambda row: row.values.get("x") == 7),
    ("x != 7", lambda row: row.values.get("x", 7) != 7),
    ("x in (1, 50)", lambda row: row.values.get("x") in (1, 50)),
    ("old", lambda row: bool(row.values.get("old"))),
    ("word like 'w1%'", lambda row: row.values.get("word", "").startswith("w1")),
    ("word is null", lambda row: "word" not in row.values),
]


@pytest.fixture
def many(history: Any) -> list[Row]:
    """400 runs of F, newest first."""
    chance = random.Random(5)
    rows = []
    for pk in range(1, 401):
        values: dict[str, Any] = {"x": chance.randrange(100)} if chance.random() < 0.8 else {}
        values["old"] = pk < 100
        if chance.random() < 0.5:
            values["word"] = f"w{chance.randrange(30)}"
        tags = {"user:tester", "even" if pk % 2 else "odd"} | ({"rare"} if pk in (20, 21, 300) else set())
        rows.append(Row(pk, tags, values, chance.choice(["completed", "failed"])))
    db = history.db
    with db.transaction():
        db.execute("INSERT INTO flows (name, last_run, created_at) VALUES ('F', 400, 0)")
        for row in rows:
            db.execute(
                "INSERT INTO runs (flow_pk, id, owner, status, created_at) VALUES (1, ?, 'tester', ?, ?)",
                (str(row.pk), row.status, row.pk),
            )
            for tag in row.tags:
                db.execute("INSERT INTO run_tags VALUES (?, ?, 1, 0)", (row.pk, tag))
            for name, value in row.values.items():
                text, number = (value, None) if isinstance(value, str) else (None, value)
                db.execute(
                    "INSERT INTO run_values VALUES (?, ?, 1, ?, ?, ?)",
                    (row.pk, name, type(value).__name__, number, text),
                )
    return rows[::-1]


def _combined(chance: random.Random, depth: int) -> tuple[str, Oracle]:
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(ATOMS)
    (one, is_one), (two, is_two) = _combined(chance, depth - 1), _combined(chance, depth - 1)
    kind = chance.randrange(4)
    if kind == 0:
        return f"not ({one})", lambda row: not is_one(row)
    if kind == 1:
        return f"({one} or {two})", lambda row: is_one(row) or is_two(row)
    return f"({one} and {two})", lambda row: is_one(row) and is_two(row)


@pytest.mark.parametrize("near, few, far", [(256, 4096, 2048), (3, 1, 2), (3, 30, 5), (1, 0, 1)])
def test_every_strategy_finds_the_same(
    many: list[Row], monkeypatch: pytest.MonkeyPatch, near: int, few: int, far: int
) -> None:
    monkeypatch.setattr(strategies, "NEAR", near)
    monkeypatch.setattr(strategies, "FEW", few)
    monkeypatch.setattr(strategies, "FAR", far)
    monkeypatch.setattr(strategies, "PART", 7)
    chance = random.Random(near)
    for turn in range(150):
        where, holds = _combined(chance, 3)
        expected = [row for row in many if holds(row)]
        order = chance.choice(["newest", "oldest", "x", "-x", "word"])
        if order == "oldest":
            expected = expected[::-1]
        elif order != "newest":
            name = order.removeprefix("-")
            has = [row for row in expected if name in row.values]
            has.sort(key=lambda row: (row.values[name], row.pk), reverse=order.startswith("-"))
            expected = has + [row for row in expected if name not in row.values]
        wanted = [str(row.pk) for row in expected]
        limit = chance.choice([None, 1, 5, 50])
        space = chance.choice([None, "user:tester"])
        scope: Any = Metaflow() if turn % 5 == 0 else Flow("F")
        search = scope.search(where, order_by=order, namespace=space, limit=limit)
        assert ids(search) == wanted[:limit], (where, order, limit)
        if limit and wanted[limit:]:
            second = scope.search(where, order_by=order, namespace=space, limit=limit, page=2)
            assert ids(second) == wanted[limit : 2 * limit], (where, order)
            after = scope.search(where, order_by=order, namespace=space, limit=limit, after=f"F/{wanted[limit - 1]}")
            assert ids(after) == wanted[limit : 2 * limit], (where, order)


def test_bad_arguments(trained: Flow) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"limit": 0}, "limit is a whole number from 1 on, not 0."),
        ({"limit": True}, "limit is a whole number"),
        ({"limit": 2**70}, "limit is a whole number"),
        ({"limit": 2.0}, "limit is a whole number"),
        ({"page": 2}, "page = 2 needs a limit"),
        ({"tags": 5}, "tags is a text or a list of texts, not 5."),
        ({"user": ["a", None]}, "user is a text or a list of texts"),
        ({"status": "done"}, "status = 'done': There is no such status. There are: running, completed"),
        ({"since": 5}, "since = 5: Expected a date or a time"),
        ({"since": "3 fortnights"}, "There is no unit 'fortnights' of time"),
        ({"order_by": "acuracy"}, "Did you mean `accuracy`?"),
        ({"order_by": "duration"}, "Runs can't be ordered by duration"),
        ({"order_by": None}, "order_by is"),
        ({"namespace": 5}, "A namespace is a tag"),
        ({"where": 5}, 'A search is a text such as "accuracy > 0.9", not 5.'),
        ({"user": "\ud800"}, "user is a text"),
    ]
    for asked, message in bad:
        with pytest.raises(MetaflowException) as raised:
            trained.search(**asked)
        assert message in str(raised.value)
        assert isinstance(raised.value, InvalidSearch)
