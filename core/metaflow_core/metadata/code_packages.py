"""The code packages of runs.

A package is a content like that of an artifact, so garbage collection spares it as long as a run refers to it. The
reference and what is known of the package belong to attempt -1 of the run's ``_parameters`` task: nothing that lists
artifacts of tasks, or that tasks inherit, looks there. A deployment, which has no run at first, leaves a mark in the
store.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection
from typing import IO, Any, NamedTuple

from metaflow_core.errors import MetaflowDataMissing, MetaflowException
from metaflow_core.metadata.contents import save_contents, saved_payloads, storage_key
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK, add_facts
from metaflow_core.store.interface import Storage
from metaflow_core.store.package_archive import Archive, extract, tar_of
from metaflow_core.values.encoded import Encoded

NAME = "code_package"
FACT = "code-package"
_ATTEMPT = -1
_HELD = "deployed"
_LONGEST = 150  # characters of a name in the name of a mark


class StoredPackage(NamedTuple):
    """A package in the store: ``script`` is the path of the flow's file in it.

    ``working_directory`` is where the run was started, from the root of the package. ``info`` has what else is known.
    """

    key: str
    script: str
    working_directory: str
    info: dict[str, Any]


def record_package(
    db: Database, storage: Storage, run_pk: int, key: str, info: dict[str, Any], archive: Archive | None
) -> None:
    """Note that a package is the code of the run, unless that has one. ``archive`` is stored, unless it is there.

    It may be None for a package that a deployment holds.
    """
    content = Encoded(NAME, "any", "tar.gz", key, key, info["size"], write=archive.write if archive else None)
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


def hold_package(db: Database, storage: Storage, archive: Archive, deployment: str) -> None:
    """Store a package, unless it is there, and keep it until :func:`release_packages`, also when no run has it."""
    key, done = storage_key(archive.key), False
    while not done:
        storage.put(key, archive.write)
        with db.transaction():  # files are removed in transactions too, so none is between these two lines
            storage.put(f"{_HELD}/{archive.key}/{_spelt(deployment)}", lambda file: _write_mark(file, deployment))
            done = storage.exists(key)


def release_packages(storage: Storage, deployment: str, but: Collection[str] = ()) -> None:
    """Hold the packages of a deployment no longer, except for those whose keys are in ``but``."""
    for mark in list(storage.keys(_HELD)):
        _, key, name = mark.split("/")
        if name == _spelt(deployment) and key not in but:
            storage.delete(mark)


def held_packages(storage: Storage) -> set[str]:
    """The keys of the packages that deployments hold."""
    return {mark.split("/")[1] for mark in storage.keys(_HELD)}


def _spelt(deployment: str) -> str:
    from urllib.parse import quote

    name = quote(deployment, safe="")
    if len(name) > _LONGEST:  # a project and a branch may have as many characters as a file's name, or more
        from hashlib import sha256

        name = f"{name[:_LONGEST]}-{sha256(name.encode()).hexdigest()}"
    return f"by-{name}"


def _write_mark(file: IO[bytes], deployment: str) -> None:
    file.write(f"{deployment}\n".encode("utf-8", "surrogatepass"))


def read_package(storage: Storage, key: str) -> bytes:
    """The tar file of a package. ``MetaflowDataMissing`` when it is gone or damaged."""
    place = storage_key(key)
    try:
        return tar_of(storage.read(place), key)
    except MetaflowDataMissing:  # it may be a copy that is damaged
        storage.distrust(place)
        return tar_of(storage.read(place), key)


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
            os.mkdir(inside, 0o700)  # what is there is run: nobody else may change it, whatever the umask
            extract(tar, inside)
            try:
                os.rename(inside, target)
            except OSError:
                if not os.path.isdir(target):  # another process was quicker
                    raise
    except OSError as error:
        raise MetaflowException(f"The code can't be unpacked in {folder}: {error.strerror or error}.") from None
    return target
