"""Artifacts and logs in a directory: a plain path, or ``file://``.

An object is written to a temporary file in ``.tmp`` and renamed, so that a reader sees all of it or nothing, and two
writers of one key both succeed. What was written survives the death of every process. Surviving a power cut as well
takes waiting for the disk, which ``METAFLOW_DURABLE_WRITES=true`` asks for.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

from metaflow_core import settings
from metaflow_core.errors import MetaflowDataMissing, StorageError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.names import show
from metaflow_core.store.interface import Storage, StoredObject, check_key

SCHEME = "file://"
TEMPORARY = ".tmp"
ABANDONED_SECONDS = 24 * 3600.0
FOLDER_TRIES = 20  # another process may remove a folder because it is empty
# Below this a copy is cheaper than a mapping, of which a process can have only so many.
MAP_FROM = 256 * 1024

T = TypeVar("T")

_FULL = "free some space and resume. Nothing that was stored is lost."
_ELSEWHERE = "or set METAFLOW_DATASTORE_SYSROOT_LOCAL to another one."
_ADVICE = {
    errno.ENOSPC: f"The disk is full: {_FULL}",
    errno.EDQUOT: f"Your disk quota is used up: {_FULL}",
    errno.EROFS: f"The file system is read-only: make it writable, {_ELSEWHERE}",
    errno.EACCES: f"Permission denied: check who owns the directory, {_ELSEWHERE}",
    errno.EPERM: f"Permission denied: check who owns the directory, {_ELSEWHERE}",
    errno.ENAMETOOLONG: "A name is too long for this file system: use shorter names of flows and steps.",
    errno.ENOTDIR: "A file is in the place of a directory: move it away.",
    errno.EISDIR: "A directory is in the place of a file: move it away.",
    errno.EMFILE: "Too many files are open: raise the limit with ulimit -n, or use fewer --max-workers.",
    errno.EIO: "The disk reports an error: check it.",
}


@hookimpl
def open_storage(url: str) -> Storage | None:
    if url.startswith(SCHEME):
        from urllib.parse import unquote

        path = unquote(url.removeprefix(SCHEME).removeprefix("localhost"))
        if not path.startswith("/"):
            raise StorageError(f"{show(url)} is no address of a directory: write file:///an/absolute/path.")
        return LocalStorage(path)
    return None if "://" in url else LocalStorage(url)


class LocalStorage(Storage):
    """Objects as files under the directory ``path``, which is made when the first object is."""

    append_interval = 0.0

    def __init__(self, path: str) -> None:
        self.url = self._root = os.path.abspath(os.path.expanduser(path))
        self._cleaned = False

    def put(self, key: str, write: Callable[[IO[bytes]], None], replace: bool = False) -> float | None:
        target = self._path(key)
        if not replace and (written := self._when_written(target)) is not None:
            return written
        temporary = os.path.join(self._root, TEMPORARY, f"{os.getpid()}-{os.urandom(8).hex()}")
        with self._errors("write"):
            try:
                with open(_create(temporary, os.O_EXCL), "wb") as file:
                    write(file)
                    if durable := settings.get("DURABLE_WRITES"):
                        file.flush()
                        os.fsync(file.fileno())
                _in_folder(target, lambda: os.replace(temporary, target))
                if durable:
                    _sync_folder(os.path.dirname(target))
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        if not self._cleaned:
            self._cleaned = True
            with suppress(StorageError):
                self.clean(time.time() - ABANDONED_SECONDS)
        return None

    def read(self, key: str, start: int = 0, end: int | None = None) -> memoryview:
        with self._errors("read", key):
            fd = os.open(self._path(key), os.O_RDONLY)
            try:
                size = os.fstat(fd).st_size
                end = size if end is None else min(end, size)
                if end - start >= MAP_FROM:
                    return memoryview(_map(fd, size))[start:end]
                with open(fd, "rb", buffering=0, closefd=False) as file:
                    file.seek(start)
                    data = bytearray(max(end - start, 0))
                    return memoryview(data)[: file.readinto(data)]
            finally:
                os.close(fd)

    def exists(self, key: str) -> bool:
        return os.path.isfile(self._path(key))

    def size(self, key: str) -> int:
        with self._errors("read", key):
            status = os.stat(self._path(key))
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "Is a directory")
            return status.st_size

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.scan(prefix))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        with self._errors("read"):
            yield from _walk(self._path(prefix) if prefix else self._root, prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._errors("change"), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)
            with suppress(OSError):  # a folder with other files stays
                while (path := os.path.dirname(path)) != self._root:
                    os.rmdir(path)

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        count = size = 0
        folder = os.path.join(self._root, TEMPORARY)
        with self._errors("change"), suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    if status.st_mtime < before:
                        if not dry_run:
                            os.unlink(entry.path)
                        count += 1
                        size += status.st_size
        return count, size

    def append(self, key: str, data: bytes) -> None:
        if not data:
            return
        with self._errors("write"):
            fd = _create(self._path(key), os.O_APPEND)
            try:
                before = os.fstat(fd).st_size
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(fd, rest) :]
                except OSError:
                    os.ftruncate(fd, before)  # no half of it, so that the same data can be appended again
                    raise
            finally:
                os.close(fd)

    def close(self) -> None:
        pass

    def _path(self, key: str) -> str:
        return os.path.join(self._root, check_key(key))

    def _when_written(self, path: str) -> float | None:
        # After a power cut a file may be there without its content.
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_mtime if status.st_size > 0 else None

    @contextmanager
    def _errors(self, verb: str, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if key is not None and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
                raise MetaflowDataMissing(f"{key} is not in the artifact store {self._root}: it was deleted.") from None
            hint = _ADVICE.get(error.errno or 0, f"{error.strerror or error}.")
            raise StorageError(f"Can't {verb} the artifact store {self._root}. {hint}") from error


def _create(path: str, flag: int) -> int:
    return _in_folder(path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o666))


def _in_folder(path: str, act: Callable[[], T]) -> T:
    """Do something that needs the folder of ``path``, and make the folder only when it turns out to be missing."""
    for turn in range(FOLDER_TRIES):
        try:
            return act()
        except FileNotFoundError:
            if turn:
                time.sleep(turn * os.urandom(1)[0] * 1e-6)  # out of step with whoever removes it
            with suppress(FileNotFoundError, FileExistsError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
    return act()


def _map(fd: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
    except OSError:
        # A strict limit on memory counts a private copy in full although its pages are shared.
        return mmap.mmap(fd, size, access=mmap.ACCESS_READ)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _walk(path: str, key: str) -> Iterator[StoredObject]:
    """The files under ``path``, sorted by key: a folder stands where its name with a slash would."""
    try:
        with os.scandir(path) as found:
            entries = [(entry.name + "/" * entry.is_dir(), entry) for entry in found if not entry.name.startswith(".")]
    except FileNotFoundError:
        return
    except NotADirectoryError:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(path)
            yield StoredObject(key, status.st_size, status.st_mtime)
        return
    for name, entry in sorted(entries, key=lambda found: found[0]):
        inside = f"{key}/{entry.name}" if key else entry.name
        if name.endswith("/"):
            yield from _walk(entry.path, inside)
        else:
            with suppress(FileNotFoundError):
                status = entry.stat()
                yield StoredObject(inside, status.st_size, status.st_mtime)
