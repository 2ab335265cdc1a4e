"""The code packages of runs.

A package is a content like that of an artifact, so garbage collection spares it as long as a run refers to it. The
reference and what is known of the package belong to attempt -1 of the run's ``_parameters`` task: nothing that lists
artifacts of tasks, or that tasks inherit, looks there.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, NamedTuple

from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.contents import save_contents, saved_payloads, storage_key
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK, add_facts
from metaflow_core.store.interface import Storage
from metaflow_core.store.package_archive import Archive, extract, tar_of
from metaflow_core.values.encoded import Encoded

NAME = "code_package"
FACT = "code-package"
_ATTEMPT = -1


class StoredPackage(NamedTuple):
    """A package in the store: ``script`` is the path of the flow's file in it.

    ``working_directory`` is where the run was started, from the root of the package. ``info`` has what else is known.
    """

    key: str
    script: str
    working_directory: str
    info: dict[str, Any]


def record_package(db: Database, storage: Storage, run_pk: int, archive: Archive, info: dict[str, Any]) -> None:
    """Store a package, unless it is there, and note that it is the code of the run, unless that has one."""
    content = Encoded(NAME, "any", "tar.gz", archive.key, archive.key, archive.size, write=archive.write)
    with saved_payloads(db, storage, [content]):
        task_pk = db.execute(
            "SELECT pk FROM tasks WHERE run_pk = ? AND step = ? AND id = ?", (run_pk, PARAMETERS_STEP, PARAMETERS_TASK)
        )[0][0]
        if find_package(db, run_pk) is None:
            db.execute(
                "INSERT INTO artifacts (task_pk, attempt, name, content_pk) VALUES (?, ?, ?, ?)",
                (task_pk, _ATTEMPT, NAME, save_contents(db, [content])[0]),
            )
            add_facts(db, task_pk, _ATTEMPT, {FACT: json.dumps(info)})


def find_package(db: Database, run_pk: int) -> StoredPackage | None:
    """The package of a run; None when it has none."""
    rows = db.execute(
        "SELECT c.key, m.value FROM tasks t JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = ? AND a.name = ?"
        " JOIN contents c ON c.pk = a.content_pk JOIN task_metadata m ON m.task_pk = t.pk AND m.attempt = ?"
        " AND m.field = ? WHERE t.run_pk = ? AND t.step = ? AND t.id = ?",
        (_ATTEMPT, NAME, _ATTEMPT, FACT, run_pk, PARAMETERS_STEP, PARAMETERS_TASK),
    )
    if not rows:
        return None
    key, text = rows[0]
    info = json.loads(text)
    return StoredPackage(key, info["script"], info["working_directory"], info)


def read_package(storage: Storage, key: str) -> bytes:
    """The tar file of a package. ``MetaflowDataMissing`` when it is gone or damaged."""
    return tar_of(storage.read(storage_key(key)), key)


def unpack(storage: Storage, key: str, folder: str) -> str:
    """The package's directory below ``folder``, which is filled unless it is there: once for all tasks of a worker.

    What is there is whole: it gets its name when it is. Any number of processes may ask for it at the same time.
    ``MetaflowDataMissing`` when the package is gone or damaged, ``MetaflowException`` when ``folder`` can't be written.
    """
    target = os.path.join(os.path.abspath(folder), key)
    if os.path.isdir(target):
        return target
    tar = read_package(storage, key)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
            inside = os.path.join(temporary, key)
            os.mkdir(inside)
            extract(tar, inside)
            try:
                os.rename(inside, target)
            except OSError:
                if not os.path.isdir(target):  # another process was quicker
                    raise
    except OSError as error:
        raise MetaflowException(f"The code can't be unpacked in {folder}: {error.strerror or error}.") from None
    return target
