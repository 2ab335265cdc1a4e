"""`python make_runs.py COUNT`: runs of LinearFlow, recorded as a driver and its tasks would, but not executed."""

from __future__ import annotations

import json
import sys

from metaflow_core import identity
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import open_backend
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


if __name__ == "__main__":
    make_runs(int(sys.argv[1]))
