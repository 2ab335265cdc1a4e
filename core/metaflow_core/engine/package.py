"""Makes the code package of a flow: the project as it is now.

A run on this machine needs none, and makes none. What starts tasks elsewhere asks for :func:`package_of`, and
:func:`unpack` is for the worker there; a user asks for a package with ``run --package-code``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from typing import Any

from metaflow_core.engine.masking import MIN_LENGTH
from metaflow_core.engine.what_ran import written_secrets
from metaflow_core.errors import CommandException, MetaflowException
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.code_packages import (
    StoredPackage,
    find_package,
    hold_package,
    record_package,
    release_packages,
)
from metaflow_core.metadata.code_packages import unpack as unpack
from metaflow_core.metadata.contents import storage_key
from metaflow_core.metadata.recording import RunRow
from metaflow_core.settings import working_directory
from metaflow_core.store.package_archive import Archive, PackedFile
from metaflow_core.store.project_files import ProjectFiles, code_root, project_files, unreadable, wanted_suffixes


def package_of(flow: FlowDef, backend: Backend, run: RunRow) -> StoredPackage:
    """The code package of a run, which is made and recorded when it has none.

    ``MetaflowException`` when the project can't be packaged, ``StorageError`` when it can't be stored.
    """
    found = find_package(backend.db, run.pk)
    if found is None:
        with Package(flow) as package:
            package.record(backend, run)
        found = find_package(backend.db, run.pk)
        assert found is not None
    return found


def undeployed(backend: Backend, deployment: str, but: Collection[str] = ()) -> None:
    """Keep the packages of a deployment no longer than its runs, except for those whose keys are in ``but``."""
    release_packages(backend.storage, deployment, but=but)


def use_package(backend: Backend, run: RunRow, package: StoredPackage) -> None:
    """Make the package of a deployment the code of one of its runs."""
    record_package(backend.db, backend.storage, run.pk, package.key, package.info, None)


def files_of_flow(flow: FlowDef) -> ProjectFiles:
    """The files that a package of the flow has. ``CommandException`` when the flow is in no file."""
    if not flow.file or not os.path.isfile(flow.file):
        raise CommandException(
            f"{flow.name} is defined in a session and not in a file, so there is no project to package. Save it as a "
            f"file."
        )
    steps = {step.file for step in flow if step.file and os.path.isfile(step.file)}
    known = [flow.file, *sorted(file for file in steps if "site-packages" not in file.split(os.sep))]
    return project_files(code_root(flow.file), known, wanted_suffixes())


class Package:
    """The project of a flow, packed. A context manager: it holds a temporary file."""

    def __init__(self, flow: FlowDef) -> None:
        self.files = files_of_flow(flow)
        self.archive = Archive(_packed(self.files, flow))
        root, here = self.files.root, os.path.realpath(working_directory())
        inside = os.path.commonpath([root, here]) == root
        self.info: dict[str, Any] = {
            "script": os.path.relpath(os.path.realpath(str(flow.file)), root),
            "working_directory": os.path.relpath(here, root) if inside else ".",
            "files": self.archive.count,
            "size": self.archive.size,
            "suffixes": wanted_suffixes(),
        }

    @property
    def stored(self) -> StoredPackage:
        """What the package is in the store, once it is there."""
        return StoredPackage(self.archive.key, self.info["script"], self.info["working_directory"], self.info)

    def hold(self, backend: Backend, deployment: str) -> None:
        """Store the package, unless it is there, and keep it until :func:`undeployed`, also when no run has it.

        ``deployment`` is the name of what is deployed. Each run of it is given the package by :func:`use_package`.
        """
        hold_package(backend.db, backend.storage, self.archive, deployment)

    def store(self, backend: Backend) -> None:
        """Put the package into the store already: so it is known whether that can be done."""
        backend.storage.put(storage_key(self.archive.key), self.archive.write)

    def record(self, backend: Backend, run: RunRow) -> None:
        """Store the package, unless it is there, and make it the code of the run."""
        record_package(backend.db, backend.storage, run.pk, self.archive.key, self.info, self.archive)

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *error: object) -> None:
        self.archive.close()


def _packed(files: ProjectFiles, flow: FlowDef) -> Iterator[PackedFile]:
    secrets = {
        form.encode("utf-8", "surrogateescape")
        for value in written_secrets(flow)
        for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
        if len(value) >= MIN_LENGTH
    }
    for name, path in files.paths.items():
        try:
            with open(path, "rb") as file:
                data = file.read()
                is_program = bool(os.fstat(file.fileno()).st_mode & 0o100)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            raise unreadable(path, error) from None
        if any(secret in data for secret in secrets):
            raise MetaflowException(
                f"The project can't be packaged: {name} has the value of a secret in it, which @secrets was given, and "
                f"a package is stored. Name where the secret is kept instead: @secrets(sources=[...])."
            )
        yield PackedFile(name, data, is_program)
