"""The cost of a search does not grow with the number of runs: neither what the database reads nor what is held."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from metaflow_core.metadata import search as strategies
from metaflow_core.results import Flow, Metaflow, namespace

SEARCHES: list[dict[str, Any]] = [
    {},
    {"tags": "even"},
    {"tags": ["even", "odd"]},
    {"any_tags": ["rare", "absent"]},
    {"no_tags": "even"},
    {"status": "failed"},
    {"status": ["running", "lost"]},
    {"user": "tester"},
    {"since": "2000-01-01"},
    {"until": "2000-01-01"},
    {"where": "x > 5"},
    {"where": "x == 5"},
    {"where": "x < 5 and tag == 'even' and not debug"},
    {"where": "x in (1, 2) or word like 'a%'"},
    {"where": "word contains 'a'"},
    {"order_by": "oldest", "tags": ["even", "odd"]},
    {"order_by": "x"},
    {"order_by": "-x", "where": "x > 5", "tags": "odd"},
    {"order_by": "x", "tags": "rare"},
    {"limit": 2, "page": 3},
    {"tags": ["even", "user:tester"], "where": "not x > 0"},
]


def fill(db: Any, count: int) -> None:
    with db.transaction():
        db.execute("INSERT INTO flows (name, last_run, created_at) VALUES ('F', ?, 0)", (count,))
        db.executemany(
            "INSERT INTO runs (flow_pk, id, owner, status, created_at, finished_at) VALUES (1, ?, 'tester', ?, ?, ?)",
            [(str(n), "failed" if n % 3 else "completed", n, n + 1) for n in range(1, count + 1)],
        )
        db.executemany(
            "INSERT INTO run_tags (run_pk, tag, flow_pk, is_system) VALUES (?, ?, 1, 0)",
            [(n, tag) for n in range(1, count + 1) for tag in ("user:tester", "odd" if n % 2 else "even")]
            + [(1, "rare")],
        )
        db.executemany(
            "INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text) VALUES (?, ?, 1, ?, ?, ?)",
            [(n, "x", "int", n, None) for n in range(1, count + 1)]
            + [(n, "debug", "bool", n % 2, None) for n in range(1, count + 1)]
            + [(n, "word", "str", None, f"a{n}") for n in range(1, count + 1)],
        )


@pytest.mark.parametrize("sizes", [(256, 4096, 2048), (2, 0, 2)])
def test_every_statement_uses_an_index(history: Any, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]) -> None:
    fill(history.db, 60)
    for name, size in zip(("NEAR", "FEW", "FAR"), sizes, strict=True):
        monkeypatch.setattr(strategies, name, size)
    statements = []
    execute = type(history.db).execute

    def note(db: Any, sql: str, values: Any = ()) -> Any:
        statements.append((sql, values))
        return execute(db, sql, values)

    monkeypatch.setattr(type(history.db), "execute", note)
    for ns in (None, "user:tester"):
        namespace(ns)
        for asked in SEARCHES:
            for scope in (Flow("F"), Metaflow()):
                list(scope.search(**asked))
                scope.search(**asked).to_frame("*")
    assert len({sql for sql, _ in statements}) > 50
    for sql, values in statements:
        if sql.startswith("SELECT pk, name, created_at FROM flows"):
            continue
        for row in execute(history.db, f"EXPLAIN QUERY PLAN {sql}", values):
            plan = row[3]
            # Runs of all flows are read in their order, and not to the end. Subqueries are k, s and n.
            in_order = plan in ("SCAN b", "SCAN b USING INTEGER PRIMARY KEY") and "FROM runs b WHERE 1 = 1" in sql
            assert not plan.endswith("(flow_pk=?)"), (sql, plan)  # the whole flow is no better than a scan
            assert "SCAN" not in plan or in_order or plan in ("SCAN k", "SCAN s", "SCAN n", "SCAN flows"), (sql, plan)


def test_a_search_holds_a_page(history: Any) -> None:
    """Ten times the runs take hardly more memory, whether few or all of them are read."""
    peaks = []
    for count in (400, 4000):
        for table in ("run_values", "run_tags", "runs", "flows"):
            history.db.execute(f"DELETE FROM {table}")
        history.db.execute("DELETE FROM sqlite_sequence")
        fill(history.db, count)
        flow = Flow("F")
        for warm in (True, False):
            if not warm:
                tracemalloc.start()
            assert sum(1 for _ in flow.search("x > 0", tags=["user:tester"])) == count
            assert sum(1 for _ in flow.search("x > 0", order_by="-x")) == count
            assert len(list(flow.search("x <= 200 and 'even' in tags"))) == 100
            assert list(flow.search(tags=["even", "odd"])) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000, peaks


def test_rows_read_for_a_page(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(history.db, 3000)
    fetched = []
    execute = type(history.db).execute

    def count(db: Any, sql: str, values: Any = ()) -> Any:
        rows = execute(db, sql, values)
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(type(history.db), "execute", count)
    flow = Flow("F")
    for asked in SEARCHES:
        fetched.clear()
        next(iter(flow.search(**asked)), None)
        assert sum(fetched) < 150, asked
        assert len(fetched) < 30, asked
        for _ in flow.search(**asked):
            pass
        assert max(fetched) <= 1100, asked
