"""On PostgreSQL too, the cost of a search does not grow with the number of runs."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow_core.results import Flow, Metaflow, default_namespace, namespace, provider

pytest.importorskip("psycopg", reason="psycopg is not installed; `make setup` installs it")

SEARCHES: list[dict[str, Any]] = [
    {},
    {"tags": "even"},
    {"any_tags": ["rare", "absent"]},
    {"no_tags": "even"},
    {"status": ["running", "lost"]},
    {"user": "tester"},
    {"since": "2000-01-01"},
    {"where": "x > 5"},
    {"where": "x == 5"},
    {"where": "x in (1, 2) or word like 'a%'"},
    {"where": "word contains 'a'"},
    {"limit": 2, "page": 3},
]
FILL = """
INSERT INTO flows (name, last_run, created_at) VALUES ('F', {count}, 0) ON CONFLICT DO NOTHING;
INSERT INTO runs (flow_pk, id, owner, status, created_at, finished_at)
    SELECT 1, CAST(n AS TEXT), 'tester', CASE WHEN n % 3 = 0 THEN 'completed' ELSE 'failed' END, n, n + 1
    FROM generate_series({first}, {count}) n;
INSERT INTO run_tags (run_pk, tag, flow_pk, is_system)
    SELECT n, tag, 1, 0 FROM generate_series({first}, {count}) n,
    LATERAL (VALUES ('user:tester'), (CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END)) t (tag);
INSERT INTO run_tags (run_pk, tag, flow_pk, is_system) VALUES (1, 'rare', 1, 0) ON CONFLICT DO NOTHING;
INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text)
    SELECT n, 'x', 1, 'int', n, NULL FROM generate_series({first}, {count}) n
    UNION ALL SELECT n, 'word', 1, 'str', NULL, 'a' || n FROM generate_series({first}, {count}) n;
ANALYZE
"""


def rows_read(plan: dict[str, Any]) -> int:
    inner = sum(rows_read(part) for part in plan.get("Plans", []))
    if "Relation Name" not in plan:
        return inner
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return inner + int(read * plan["Actual Loops"])


def ways(plan: dict[str, Any]) -> set[str]:
    return {str(plan["Node Type"])}.union(*(ways(part) for part in plan.get("Plans", [])))


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_rows_read_for_a_page(project: Any, postgresql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    db: Any = provider.backend().db
    name = db.url.rpartition("/")[2]
    statements: list[tuple[str, Any]] = []
    execute = type(db).execute

    def note(self: Any, sql: str, values: Any = ()) -> Any:
        statements.append((sql, values))
        return execute(self, sql, values)

    read: dict[int, list[int]] = {}
    first = 1
    for count in (2000, 16000):
        postgresql.sql(FILL.format(first=first, count=count), name)
        first = count + 1
        with monkeypatch.context() as patch:
            patch.setattr(type(db), "execute", note)
            read[count] = []
            for ns in (None, "user:tester"):
                namespace(ns)
                for asked in SEARCHES:
                    for scope in (Flow("F"), Metaflow()):
                        statements.clear()
                        next(iter(scope.search(**asked)), None)
                        total = 0
                        for sql, values in list(statements):
                            plan = execute(db, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)[0][0][0]["Plan"]
                            assert not ways(plan) & {"Hash Join", "Merge Join"}, sql
                            total += rows_read(plan)
                        read[count].append(total)
    default_namespace()
    asked = [(ns, search, scope) for ns in ("", "user") for search in SEARCHES for scope in ("flow", "all")]
    for small, large, what in zip(read[2000], read[16000], asked, strict=True):
        assert large < 2 * small + 6000, what
