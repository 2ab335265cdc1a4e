"""The metadata database and the artifact store that this process works with."""

from __future__ import annotations

import os
import time
from typing import Any, cast

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.database import Database, TryAgain
from metaflow_core.metadata.migrate import migrate
from metaflow_core.names import masked, show
from metaflow_core.plugins import broken_hint, hook
from metaflow_core.store.interface import Storage

SQLITE = "sqlite:///"
PATIENCE = 60.0  # seconds
# What `--datastore` and METAFLOW_DEFAULT_DATASTORE can be beside "local" and an address, with an example of an address.
NAMED_STORES = {"s3": "s3://bucket/prefix", "gs": "gs://bucket/prefix", "azure": "az://container/prefix"}


class Backend:
    """A database and a store, opened when first used.

    One that is ``patient`` waits for a database, or a store, that can't be reached: those of a task were there when its
    run began.
    """

    def __init__(self, metadata_url: str, storage_url: str) -> None:
        self.metadata_url = metadata_url
        self.storage_url = storage_url
        self.patient = False
        self._pid = os.getpid()
        self._db: Database | None = None
        self._storage: _Later | None = None

    @property
    def db(self) -> Database:
        """The database, at this version's schema. A forked process gets a connection of its own."""
        self._be_this_process()
        if self._db is None:
            db = self._open()
            if db is None:
                raise MetaflowException(
                    f"No installed plugin opens the metadata database {self.metadata_url!r}. "
                    f"Known to work: sqlite:///PATH, postgresql://HOST/DATABASE. "
                    f"`metaflow status --plugins` lists the plugins.{broken_hint()}"
                )
            migrate(db)
            self._db = db
        return self._db

    def _open(self) -> Database | None:
        pause = 0.1
        end = time.monotonic() + PATIENCE
        while True:
            try:
                db: Database | None = hook().open_database(url=self.metadata_url)
                return db
            except TryAgain:
                if not self.patient or time.monotonic() > end:
                    raise
                time.sleep(pause)
                pause = min(2.0, 2 * pause)

    @property
    def storage(self) -> Storage:
        """The artifact store, opened when something is done with it: many tasks read and write small values alone."""
        self._be_this_process()
        if self._storage is None:
            self._storage = _Later(self)
        return cast("Storage", self._storage)

    def _be_this_process(self) -> None:
        if self._pid != os.getpid():
            self._pid, self._db, self._storage = os.getpid(), None, None

    def rest(self) -> None:
        """Nothing will be asked of the database for a while."""
        if self._db is not None and self._pid == os.getpid():
            self._db.rest()

    def close(self) -> None:
        for part in (self._db, self._storage):
            if part is not None:
                part.close()
        self._db = self._storage = None


class _Later:
    """A store that is opened when it is first used."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._opened: Storage | None = None

    def __getattr__(self, name: str) -> Any:
        if self._opened is None:
            self._opened = self._open()
        return getattr(self._opened, name)

    def _open(self) -> Storage:
        try:
            opened: Storage | None = hook().open_storage(url=self._backend.storage_url)
        except MetaflowException as error:
            # There is a plugin that tries every address. It can't know that another one was meant.
            if hint := broken_hint():
                raise type(error)(f"{error}{hint}") from error
            raise
        if opened is None:
            raise MetaflowException(
                f"No installed plugin opens the artifact store {masked(self._backend.storage_url)!r}. "
                f"`metaflow status --plugins` lists the plugins.{broken_hint()}"
            )
        opened.patient = self._backend.patient
        return opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def open_backend(metadata_url: str | None = None, storage_url: str | None = None) -> Backend:
    """The back end at these URLs; by default what the settings say, else ``.metaflow`` of the project."""
    folder = os.path.join(settings.project_root(), ".metaflow")
    if metadata_url is None:
        metadata_url = settings.get("METADATA_URL") or SQLITE + os.path.join(folder, "metaflow.db")
    if storage_url is None:
        storage_url = settings.get("DEFAULT_DATASTORE")
        if storage_url == "local":
            storage_url = folder
        elif storage_url in NAMED_STORES:
            storage_url = _named_store(storage_url)
    return Backend(_absolute(metadata_url), _absolute(storage_url))


def backend_in(folder: str) -> Backend:
    """A database and a store in this folder, whatever the settings say."""
    folder = os.path.abspath(folder)
    return Backend(SQLITE + os.path.join(folder, "metaflow.db"), folder)


def _named_store(name: str) -> str:
    setting = settings.SETTINGS[f"DATASTORE_SYSROOT_{name.upper()}"]
    url: str | None = settings.get(setting.name)
    if url is None:
        raise MetaflowException(
            f"The datastore is {name}, and nothing says where that is. Set {setting.variable} to an address such as "
            f"{NAMED_STORES[name]}, or give it after --datastore-root."
        )
    if "://" not in url:
        raise MetaflowException(f"{setting.variable} must be an address such as {NAMED_STORES[name]}, not {show(url)}.")
    return url


def store_variables(datastore: str | None, root: str | None) -> dict[str, str]:
    """The settings that ``--datastore`` and ``--datastore-root`` stand for, as environment variables."""
    variables = {"METAFLOW_DEFAULT_DATASTORE": datastore} if datastore else {}
    if root and datastore in NAMED_STORES:
        variables[f"METAFLOW_DATASTORE_SYSROOT_{datastore.upper()}"] = root
    elif root and "://" in root:
        if datastore:
            raise MetaflowException(
                f"--datastore-root {root} does not go with --datastore {datastore}. Give one of them, or one of "
                f"--datastore {', '.join(NAMED_STORES)}."
            )
        variables["METAFLOW_DEFAULT_DATASTORE"] = root
    elif root:
        variables["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = os.path.abspath(root)
    return variables


def _absolute(url: str) -> str:
    """Paths hold from the directory where the program was started, also when it changes to another one."""
    prefix = SQLITE if url.startswith(SQLITE) else ""
    return url if "://" in url and not prefix else prefix + os.path.abspath(url.removeprefix(prefix))
