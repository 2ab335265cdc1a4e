"""The tables, as numbered migrations.

Rows have integer keys called ``pk``; ``id`` is what the user sees (``HelloFlow/546``). Times are microseconds since
1970 in UTC. A migration is never edited after a release: a new one is added.
"""

from __future__ import annotations

# {pk}, {blob}, {real} and {without_rowid} are spelt per dialect, see DIALECTS.
MIGRATIONS: list[str] = [
    # 1: the first schema
    """
    CREATE TABLE flows (
        pk {pk},
        name TEXT NOT NULL UNIQUE,
        last_run BIGINT NOT NULL DEFAULT 0,
        created_at BIGINT NOT NULL
    );

    -- The flow's graph as a run saw it; equal graphs are stored once.
    CREATE TABLE graphs (
        pk {pk},
        fingerprint TEXT NOT NULL UNIQUE,
        graph TEXT NOT NULL
    );

    CREATE TABLE runs (
        pk {pk},
        flow_pk BIGINT NOT NULL REFERENCES flows (pk),
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        status TEXT NOT NULL,            -- running, completed, failed, interrupted
        created_at BIGINT NOT NULL,
        finished_at BIGINT,
        heartbeat_at BIGINT,             -- the driver is alive; stale means that it was killed
        host TEXT,                       -- of the driver
        pid BIGINT,                      -- of the driver
        origin_run_id TEXT,              -- the run that this one resumes
        graph_pk BIGINT REFERENCES graphs (pk),
        UNIQUE (flow_pk, id)
    );
    CREATE INDEX runs_by_flow ON runs (flow_pk, pk);
    CREATE INDEX runs_by_status ON runs (flow_pk, status, pk);

    -- The tags of now. flow_pk stands here too so that "latest run with this tag" is one index lookup.
    CREATE TABLE run_tags (
        run_pk BIGINT NOT NULL REFERENCES runs (pk),
        tag TEXT NOT NULL,
        flow_pk BIGINT NOT NULL,
        is_system SMALLINT NOT NULL,
        PRIMARY KEY (run_pk, tag)
    ) {without_rowid};
    CREATE INDEX run_tags_by_tag ON run_tags (flow_pk, tag, run_pk);

    -- Every change of tags, for ever.
    CREATE TABLE tag_events (
        pk {pk},
        run_pk BIGINT NOT NULL REFERENCES runs (pk),
        tag TEXT NOT NULL,
        action TEXT NOT NULL,            -- added, removed
        identity TEXT NOT NULL,
        at BIGINT NOT NULL
    );
    CREATE INDEX tag_events_by_run ON tag_events (run_pk, pk);

    CREATE TABLE tasks (
        pk {pk},
        run_pk BIGINT NOT NULL REFERENCES runs (pk),
        step TEXT NOT NULL,
        id TEXT NOT NULL,
        frames TEXT NOT NULL,            -- JSON: the splits around the task, outermost first
        split_index BIGINT,              -- its place in the innermost foreach
        status TEXT NOT NULL,            -- running, done (successful), caught (finished, not successful), failed
        attempt BIGINT NOT NULL,         -- the latest one
        created_at BIGINT NOT NULL,
        finished_at BIGINT,
        origin_task_pk BIGINT,           -- set when the task was taken over from another run
        UNIQUE (run_pk, step, id)
    );
    CREATE INDEX tasks_by_step ON tasks (run_pk, step, pk);

    CREATE TABLE task_parents (
        task_pk BIGINT NOT NULL REFERENCES tasks (pk),
        position BIGINT NOT NULL,        -- order of a join's inputs
        parent_pk BIGINT NOT NULL REFERENCES tasks (pk),
        PRIMARY KEY (task_pk, position)
    ) {without_rowid};
    CREATE INDEX task_parents_by_parent ON task_parents (parent_pk);

    CREATE TABLE attempts (
        task_pk BIGINT NOT NULL REFERENCES tasks (pk),
        attempt BIGINT NOT NULL,
        status TEXT NOT NULL,            -- running, done, caught, failed
        started_at BIGINT NOT NULL,
        finished_at BIGINT,
        host TEXT,
        pid BIGINT,
        transition TEXT,                 -- JSON: where the task leads, and into how many splits
        error TEXT,                      -- JSON: type, message, stacktrace, language
        PRIMARY KEY (task_pk, attempt)
    ) {without_rowid};

    -- Values. Equal stored bytes are stored once. A scalar is in its typed column, a small payload in `payload`;
    -- a large one is in the artifact store under `key`.
    CREATE TABLE contents (
        pk {pk},
        key TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        type TEXT NOT NULL,
        language TEXT NOT NULL,
        encoding TEXT NOT NULL,
        size BIGINT NOT NULL,
        int_value BIGINT,                -- encoding bool, int
        real_value {real},               -- encoding float; of a zero also text_value
        text_value TEXT,                 -- encoding str
        payload {blob}
    );

    CREATE TABLE artifacts (
        task_pk BIGINT NOT NULL REFERENCES tasks (pk),
        attempt BIGINT NOT NULL,
        name TEXT NOT NULL,
        content_pk BIGINT NOT NULL REFERENCES contents (pk),
        PRIMARY KEY (task_pk, attempt, name)
    ) {without_rowid};

    -- The elements over which a task's foreach goes, so that a child loads its own and no other.
    CREATE TABLE split_items (
        task_pk BIGINT NOT NULL REFERENCES tasks (pk),
        split_index BIGINT NOT NULL,
        content_pk BIGINT NOT NULL REFERENCES contents (pk),
        PRIMARY KEY (task_pk, split_index)
    ) {without_rowid};

    -- Facts about a task that are no artifacts.
    CREATE TABLE task_metadata (
        pk {pk},
        task_pk BIGINT NOT NULL REFERENCES tasks (pk),
        attempt BIGINT NOT NULL,
        field TEXT NOT NULL,
        type TEXT NOT NULL,
        value TEXT NOT NULL,
        created_at BIGINT NOT NULL
    );
    CREATE INDEX task_metadata_by_task ON task_metadata (task_pk);
    """,
]

DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {
        "pk": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "blob": "BLOB",
        "real": "REAL",
        "without_rowid": "WITHOUT ROWID",
    },
    "postgresql": {
        "pk": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "blob": "BYTEA",
        "real": "DOUBLE PRECISION",
        "without_rowid": "",
    },
}
