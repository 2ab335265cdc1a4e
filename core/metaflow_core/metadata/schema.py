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
    # 2: search by value, lineage, what ran, watching tags, retention
    """
    -- The scalars by which a run is found: its parameters and, once it has ended, what the last task outside of every
    -- split had; in a run that has reached its end, these are the artifacts of `run.data`.
    CREATE TABLE run_values (
        run_pk BIGINT NOT NULL REFERENCES runs (pk),
        name TEXT NOT NULL,
        flow_pk BIGINT NOT NULL,
        kind TEXT NOT NULL,              -- bool, int, float, str: what the value is to be shown as
        number NUMERIC,                  -- of a bool, an int, a float; NUMERIC keeps large integers exact
        text TEXT,                       -- of a str that is not too long for an index
        PRIMARY KEY (run_pk, name)
    ) {without_rowid};
    CREATE INDEX run_values_by_number ON run_values (flow_pk, name, number, run_pk);
    CREATE INDEX run_values_by_text ON run_values (flow_pk, name, text, run_pk);

    INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text)
        SELECT t.run_pk, a.name, r.flow_pk, c.encoding,
            CASE WHEN c.encoding = 'float' THEN c.real_value WHEN c.encoding <> 'str' THEN c.int_value END,
            CASE WHEN c.encoding = 'str' THEN c.text_value END
        FROM tasks t
        JOIN runs r ON r.pk = t.run_pk
        JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt
        JOIN contents c ON c.pk = a.content_pk
        WHERE t.step = '_parameters'
        AND a.name NOT LIKE '!_%' ESCAPE '!'
        AND (c.encoding IN ('bool', 'int', 'float') OR (c.encoding = 'str' AND length(c.text_value) <= 500));
    INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text)
        SELECT t.run_pk, a.name, r.flow_pk, c.encoding,
            CASE WHEN c.encoding = 'float' THEN c.real_value WHEN c.encoding <> 'str' THEN c.int_value END,
            CASE WHEN c.encoding = 'str' THEN c.text_value END
        FROM tasks t
        JOIN runs r ON r.pk = t.run_pk
        JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt
        JOIN contents c ON c.pk = a.content_pk
        WHERE t.pk IN
            (SELECT MAX(pk) FROM tasks WHERE frames = '[]' AND status IN ('done', 'caught') GROUP BY run_pk)
        AND t.step <> '_parameters'
        AND a.name NOT LIKE '!_%' ESCAPE '!'
        AND (c.encoding IN ('bool', 'int', 'float') OR (c.encoding = 'str' AND length(c.text_value) <= 500))
        ON CONFLICT (run_pk, name) DO UPDATE
            SET kind = excluded.kind, number = excluded.number, text = excluded.text;

    CREATE INDEX runs_by_time ON runs (flow_pk, created_at, pk);
    CREATE INDEX runs_by_owner ON runs (flow_pk, owner, pk);

    -- Which artifacts of other runs a task has read through the client. The source is named, not referenced: what was
    -- read is known also when it is gone.
    CREATE TABLE artifact_reads (
        reader_pk BIGINT NOT NULL REFERENCES tasks (pk),
        source TEXT NOT NULL,            -- pathspec of the artifact
        reader_run_pk BIGINT NOT NULL REFERENCES runs (pk),
        source_run_pk BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (reader_pk, source)
    ) {without_rowid};
    CREATE INDEX artifact_reads_by_reader ON artifact_reads (reader_run_pk);
    CREATE INDEX artifact_reads_by_source ON artifact_reads (source_run_pk);

    -- What ran: source files and installed packages, as JSON; equal ones are stored once.
    CREATE TABLE texts (
        pk {pk},
        fingerprint TEXT NOT NULL UNIQUE,
        text TEXT NOT NULL
    );
    ALTER TABLE runs ADD COLUMN source_pk BIGINT REFERENCES texts (pk);
    ALTER TABLE runs ADD COLUMN environment_pk BIGINT REFERENCES texts (pk);

    -- Who acts on tags, up to which event, and how it went.
    CREATE INDEX tag_events_by_tag ON tag_events (tag, pk);
    CREATE TABLE watchers (
        pk {pk},
        name TEXT NOT NULL UNIQUE,
        last_event BIGINT NOT NULL,      -- `pk` of the event up to which all are dealt with
        created_at BIGINT NOT NULL
    );
    CREATE TABLE watched_events (
        watcher_pk BIGINT NOT NULL REFERENCES watchers (pk),
        event_pk BIGINT NOT NULL,
        status TEXT NOT NULL,            -- running, done, failed
        exit_code BIGINT,
        started_at BIGINT NOT NULL,
        finished_at BIGINT,
        host TEXT,
        pid BIGINT,
        PRIMARY KEY (watcher_pk, event_pk)
    ) {without_rowid};

    -- What refers to a value, so that one to which nothing refers can be found and removed.
    CREATE INDEX artifacts_by_content ON artifacts (content_pk);
    CREATE INDEX split_items_by_content ON split_items (content_pk);
    """,
    # 3: deployments to orchestrators, and who may replace them
    """
    -- The namespace of what is deployed under a name. Who can't show the latest token can't deploy under it.
    CREATE TABLE production_tokens (
        pk {pk},
        name TEXT NOT NULL,
        token TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        created_at BIGINT NOT NULL
    );
    CREATE INDEX production_tokens_by_name ON production_tokens (name, pk);

    -- Every version of a deployment. A node finds in its version what it needs to run.
    CREATE TABLE deployments (
        pk {pk},
        orchestrator TEXT NOT NULL,
        name TEXT NOT NULL,
        flow TEXT NOT NULL,
        token TEXT NOT NULL,
        owner TEXT NOT NULL,
        status TEXT NOT NULL,            -- creating, active, failed, replaced, deleted
        created_at BIGINT NOT NULL,
        ended_at BIGINT,
        handle TEXT NOT NULL,            -- what the orchestrator calls it
        info TEXT NOT NULL,              -- JSON, of the orchestrator's plugin
        plan TEXT NOT NULL,              -- JSON: parameters, schedule, triggers
        given TEXT NOT NULL              -- JSON: what its runs start with
    );
    CREATE INDEX deployments_by_name ON deployments (orchestrator, name, pk);
    """,
    # 4: events, and the local orchestrator
    """
    -- What deployed flows may wait for. Events are numbered in the order in which they became visible.
    CREATE TABLE events (
        pk {pk},
        name TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,              -- event, run: the end of one
        payload TEXT NOT NULL,           -- JSON
        publisher TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        UNIQUE (name, id)
    );
    CREATE INDEX events_by_name ON events (name, pk);

    -- How far a deployment has come with what starts it.
    CREATE TABLE local_starts (
        deployment_pk BIGINT PRIMARY KEY REFERENCES deployments (pk),
        due_at BIGINT,                   -- the next time of its schedule
        waiting TEXT NOT NULL            -- JSON: by trigger, the last event that was looked at, and which have come
    );

    CREATE TABLE local_agents (
        pk {pk},
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        process TEXT NOT NULL,           -- when the process began, which tells it from a later one with its number
        started_at BIGINT NOT NULL,
        heartbeat_at BIGINT NOT NULL
    );

    CREATE TABLE local_runs (
        pk {pk},
        deployment_pk BIGINT NOT NULL REFERENCES deployments (pk),
        name TEXT NOT NULL,              -- of the deployment
        flow TEXT NOT NULL,
        number BIGINT NOT NULL,          -- the run is local-<number>
        status TEXT NOT NULL,            -- queued, running, succeeded, failed, terminated, timed-out
        parameters TEXT NOT NULL,        -- JSON: what `trigger` gave
        events TEXT NOT NULL,            -- JSON: those that have started it
        queued_at BIGINT NOT NULL,
        started_at BIGINT,
        finished_at BIGINT,
        agent_pk BIGINT,                 -- which agent looks after it
        claims BIGINT NOT NULL,          -- how often an agent took it up: a process of an earlier time must not begin
        host TEXT,                       -- of the process that runs it
        pid BIGINT,
        process TEXT,
        wanted TEXT,                     -- how it is to end: terminated, timed-out
        reason TEXT NOT NULL,            -- why it has ended so
        UNIQUE (flow, number)
    );
    CREATE INDEX local_runs_by_status ON local_runs (status, pk);
    CREATE INDEX local_runs_by_name ON local_runs (name, pk);
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
