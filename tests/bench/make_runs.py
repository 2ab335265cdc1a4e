"""`python make_runs.py COUNT`: runs of LinearFlow, recorded as a driver and its tasks would, but not executed.

`python make_runs.py --history RUNS FOLDER`: a database in which a flow BigFlow has RUNS runs of 30 tasks and 100
artifacts each, written in bulk: 100,000 runs take about a minute and 1 GB. It is kept, and its path is printed.
"""

from __future__ import annotations

import glob
import json
import os
import sqlite3
import sys
import time
from hashlib import blake2b

from metaflow_core import identity
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend, open_backend
from metaflow_core.metadata.schema import MIGRATIONS
from metaflow_core.values import encode

STEPS = ["start", "middle", "end"]


def make_runs(count: int) -> None:
    backend = open_backend()
    db, storage = backend.db, backend.storage
    graph = json.dumps({"steps": {name: {"type": "end" if name == "end" else "linear"} for name in STEPS}})
    new = recording.NewRun(
        flow="LinearFlow",
        owner=identity.user(),
        identity=identity.identity(),
        system_tags=identity.system_tags(),
        graph=graph,
        graph_fingerprint="linear",
        artifacts={"name": encode("LinearFlow")},
    )
    with db.transaction():
        for _ in range(count):
            run = recording.create_run(db, storage, new)
            parent = run.parameters_pk
            for number, step in enumerate(STEPS):
                after = {"kind": "linear", "targets": STEPS[number + 1 : number + 2]} if step != "end" else None
                task = recording.create_task(db, run.pk, step, str(number + 1), [], None, [parent])
                recording.commit_attempt(db, storage, task, 0, recording.Result("done", after), {})
                parent = task
            recording.finish_run(db, run.pk, "completed")


# --- many runs, in bulk -----------------------------------------------------------------------------------------------

TASKS = 30  # of a run: its parameters, start, a foreach of 27, and end
WIDTH = TASKS - 3
KINDS = 1000  # of values that artifacts have
DAY = 86_400_000_000  # microseconds

# A run's number is `i`. Users take turns and every third run failed, the newest tenth of Zoe's all did. `accuracy` is
# spread evenly over the runs, `progress` grows from the oldest to the newest.
HISTORY = """
INSERT INTO flows (pk, name, last_run, created_at) VALUES (1, 'BigFlow', :runs, :begin);
INSERT INTO graphs (pk, fingerprint, graph) VALUES (1, 'big', :graph);

INSERT INTO runs (pk, flow_pk, id, owner, status, created_at, finished_at, graph_pk)
    SELECT i, 1, i, owner, CASE WHEN i % 3 = 0 OR (owner = 'zoe' AND i > 0.9 * :runs) THEN 'failed'
        ELSE 'completed' END, :begin + i * :each, :begin + i * :each + 60000000, 1
    FROM (SELECT i, CASE i % 4 WHEN 0 THEN 'anne' WHEN 1 THEN 'will' WHEN 2 THEN 'zoe' ELSE 'max' END AS owner
        FROM numbers WHERE i <= :runs);

INSERT INTO run_tags (run_pk, tag, flow_pk, is_system)
    SELECT pk, 'user:' || owner, 1, 1 FROM runs
    UNION ALL SELECT pk, 'runtime:dev', 1, 1 FROM runs
    UNION ALL SELECT pk, 'python_version:3.11.7', 1, 1 FROM runs
    UNION ALL SELECT pk, 'date:' || date(created_at / 1000000, 'unixepoch'), 1, 1 FROM runs
    UNION ALL SELECT pk, CASE pk % 2 WHEN 0 THEN 'even' ELSE 'odd' END, 1, 0 FROM runs
    UNION ALL SELECT pk, 'sometimes', 1, 0 FROM runs WHERE pk % 1000 = 0
    UNION ALL SELECT pk, 'once', 1, 0 FROM runs WHERE pk = :runs / 4 * 4 - 4
    UNION ALL SELECT pk, CASE WHEN pk > :runs / 2 THEN 'new' ELSE 'old' END, 1, 0 FROM runs
    ORDER BY 1, 2;
INSERT INTO tag_events (run_pk, tag, action, identity, at)
    SELECT t.run_pk, t.tag, 'added', 'user:' || r.owner, r.created_at
    FROM run_tags t JOIN runs r ON r.pk = t.run_pk WHERE t.is_system = 0 ORDER BY t.run_pk;

INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text)
    SELECT i, 'accuracy', 1, 'float', (i * 7919 % :runs + 0.5) / :runs, NULL FROM numbers WHERE i <= :runs
    UNION ALL SELECT i, 'alpha', 1, 'float', i % 100 / 100.0, NULL FROM numbers WHERE i <= :runs
    UNION ALL SELECT i, 'debug', 1, 'bool', i % 2, NULL FROM numbers WHERE i <= :runs
    UNION ALL SELECT i, 'model', 1, 'str', NULL, CASE i % 5 WHEN 0 THEN 'forest' ELSE 'linear' END
        FROM numbers WHERE i <= :runs
    UNION ALL SELECT i, 'name', 1, 'str', NULL, 'BigFlow' FROM numbers WHERE i <= :runs
    UNION ALL SELECT i, 'progress', 1, 'float', (i + 0.5) / :runs, NULL FROM numbers WHERE i <= :runs
    ORDER BY 1, 2;

INSERT INTO tasks (pk, run_pk, step, id, frames, split_index, status, attempt, created_at, finished_at)
    SELECT (r.pk - 1) * :tasks + n.i, r.pk,
        CASE n.i WHEN 1 THEN '_parameters' WHEN 2 THEN 'start' WHEN :tasks THEN 'end' ELSE 'work' END, n.i - 1,
        CASE WHEN n.i IN (1, 2, :tasks) THEN '[]' ELSE '[["1","foreach",' || (n.i - 3) || ',' || :width || ']]' END,
        CASE WHEN n.i NOT IN (1, 2, :tasks) THEN n.i - 3 END, 'done', 0, r.created_at, r.finished_at
    FROM runs r CROSS JOIN numbers n WHERE n.i <= :tasks ORDER BY r.pk, n.i;
INSERT INTO attempts (task_pk, attempt, status, started_at, finished_at, host, pid)
    SELECT pk, 0, 'done', created_at, finished_at, 'here', 1 FROM tasks ORDER BY pk;
INSERT INTO task_parents (task_pk, position, parent_pk)
    SELECT pk, 0, CASE split_index WHEN NULL THEN pk - 1 ELSE (run_pk - 1) * :tasks + 2 END
    FROM tasks WHERE step <> '_parameters' ORDER BY pk;

INSERT INTO contents (pk, key, fingerprint, type, language, encoding, size, real_value)
    SELECT i, 'float:' || i, 'float:' || i, 'float', 'python', 'float', 8, i / 1000.0 FROM numbers WHERE i <= :kinds;
INSERT INTO artifacts (task_pk, attempt, name, content_pk)
    SELECT t.pk, 0, n.name, (t.pk * 31 + n.i) % :kinds + 1
    FROM tasks t CROSS JOIN
        (SELECT 1 AS i, 'accuracy' AS name UNION ALL SELECT 2, 'loss' UNION ALL SELECT 3, 'x' UNION ALL SELECT 4, 'y') n
    WHERE n.i <= 3 OR t.pk % 3 = 0
    ORDER BY t.pk, n.name;
"""


def make_history(runs: int, folder: str) -> str:
    """Write the database into ``folder``, unless it is there already, and return its path."""
    version = blake2b("".join([HISTORY, *MIGRATIONS]).encode(), digest_size=6).hexdigest()
    file = os.path.join(folder, f"history-{runs}-{version}.db")
    if os.path.exists(file):
        return file
    for old in glob.glob(os.path.join(folder, f"history-{runs}-*")):  # of other tables, or half written
        os.remove(old)
    unfinished = file + ".new"
    backend = Backend(f"sqlite:///{unfinished}", os.path.dirname(file))
    _ = backend.db  # makes the tables
    backend.close()
    db = sqlite3.connect(unfinished, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-200000", "temp_store=MEMORY"):
        db.execute(f"PRAGMA {pragma}")
    # An index is made faster from all rows at once.
    indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    db.execute("CREATE TEMPORARY TABLE numbers (i INTEGER PRIMARY KEY)")
    most = max(runs, KINDS, TASKS)
    db.execute(
        "INSERT INTO numbers WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " SELECT i FROM n",
        (most,),
    )
    values = {
        "runs": runs,
        "begin": time.time_ns() // 1000 - 365 * DAY,
        "each": 365 * DAY // (runs + 1),
        "graph": json.dumps({"steps": {"start": {}, "work": {}, "end": {"type": "end"}}}),
        "tasks": TASKS,
        "width": WIDTH,
        "kinds": KINDS,
    }
    for statement in HISTORY.split(";\n"):
        if statement.strip():
            db.execute(statement, values)
    for _, sql in indexes:
        db.execute(sql)
    db.execute("PRAGMA journal_mode=WAL")
    db.close()
    os.replace(unfinished, file)
    return file


if __name__ == "__main__":
    if sys.argv[1] == "--history":
        print(make_history(int(sys.argv[2]), os.path.abspath(sys.argv[3])))
    else:
        make_runs(int(sys.argv[1]))
