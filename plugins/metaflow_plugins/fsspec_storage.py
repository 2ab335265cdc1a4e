"""Artifacts and logs in any object store that fsspec reaches: ``memory://``, ``s3://``, ``gs://``, ``az://`` ...

Nothing here renames. An object is uploaded in one operation, which such stores make visible as a whole. What they
can't do is append: a log is a folder of segments (``1.0.log.~/00000000`` ...) that reading joins. The last one is
uploaded again with each append until it is large enough for the next to begin, so few objects are made.

fsspec is imported when a store is opened, and never in a process that uses none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any

from metaflow_core.errors import MetaflowDataMissing, PluginError, StorageError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.store.interface import Storage, StoredObject, check_key

SEGMENT_BYTES = 256 * 1024
SEGMENTS = ".~"
# Above this an object goes through a temporary file, so that memory holds it once at most.
IN_MEMORY_BYTES = 16 * 1024 * 1024
# What the file systems behind fsspec call the time at which an object was written.
WRITTEN = ("mtime", "last_modified", "LastModified", "updated", "modified", "created")


@hookimpl(trylast=True)  # a plugin for one kind of address comes first
def open_storage(url: str) -> Storage | None:
    return FsspecStorage(url) if "://" in url and not url.startswith("file://") else None


class FsspecStorage:
    """Objects under ``url``. Open it after a fork: connections and threads are not shared between processes."""

    append_interval = 1.0

    def __init__(self, url: str) -> None:
        import fsspec.core

        self.url = url
        try:
            # Listings that fsspec remembers would hide what other processes write.
            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise PluginError(f"The artifact store {url} needs a package that is not installed: {error}.") from error
        except Exception as error:
            raise StorageError(f"The artifact store {url} can't be opened: {_words(error)}.") from error
        self._root = str(root).rstrip("/")
        self._segments: dict[str, tuple[int, bytearray]] = {}  # the last segment of each log that is written here

    def put(self, key: str, write: Callable[[IO[bytes]], None], replace: bool = False) -> float | None:
        path = self._path(key)
        if not replace:
            with self._errors("read"):
                info = self._object(path)
                segments = [] if info else self._find_segments(path)
            if info or segments:
                return _when_written(info or segments[-1])
        import tempfile

        try:
            with tempfile.NamedTemporaryFile(prefix="metaflow-") as file:
                write(file)
                file.flush()
                self._upload(file.name, path)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise StorageError(
                f"Can't write a temporary file in {folder}: {_words(error)}. Set TMPDIR to another."
            ) from error
        if replace:
            self._segments.pop(key, None)
            self._delete_segments(path)
        return None

    def read(self, key: str) -> memoryview:
        path = self._path(key)
        with self._errors("read"):
            info = self._object(path)
            if info:
                return self._read_object(path, int(info["size"]))
            segments = self._find_segments(path)
            if segments:
                return memoryview(bytearray(b"".join(self._fs.cat_file(segment["name"]) for segment in segments)))
        raise self._missing(key)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with self._errors("read"):
            return bool(self._object(path) or self._find_segments(path))

    def size(self, key: str) -> int:
        path = self._path(key)
        with self._errors("read"):
            info = self._object(path)
            found = [info] if info else self._find_segments(path)
        if found:
            return sum(int(part["size"]) for part in found)
        raise self._missing(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.scan(prefix))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        starts = [self._path(prefix), self._path(prefix) + SEGMENTS] if prefix else [self._root]
        found: dict[str, StoredObject] = {}
        with self._errors("read"):
            for start in starts:
                for path, info in self._fs.find(start, detail=True).items():
                    folder, _, _ = path.rpartition("/")
                    key = (folder.removesuffix(SEGMENTS) if folder.endswith(SEGMENTS) else path)[len(self._root) :]
                    key = key.lstrip("/")
                    info = info or self._fs.info(path)  # `find` may know nothing of a path that is an object
                    size, modified = int(info["size"] or 0), _when_written(info)
                    if key in found:  # a further segment of a log
                        size, modified = size + found[key].size, max(modified, found[key].modified)
                    found[key] = StoredObject(key, size, modified)
        yield from (found[key] for key in sorted(found))

    def delete(self, key: str) -> None:
        path = self._path(key)
        self._segments.pop(key, None)
        with self._errors("change"), suppress(FileNotFoundError):
            self._fs.rm_file(path)
        self._delete_segments(path)

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        return 0, 0  # an upload that was killed has made no object

    def append(self, key: str, data: bytes) -> None:
        if not data:
            return
        path = self._path(key)
        with self._errors("write"):
            number, before = self._segments.get(key) or (len(self._find_segments(path)), bytearray())
            if len(before) >= SEGMENT_BYTES:
                number, before = number + 1, bytearray()
            after = before + data
            self._fs.pipe_file(f"{path}{SEGMENTS}/{number:08d}", bytes(after))
            self._segments[key] = number, after

    def close(self) -> None:
        self._segments.clear()

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _upload(self, file: str, path: str) -> None:
        with self._errors("write"):
            if os.path.getsize(file) > IN_MEMORY_BYTES:
                self._fs.put_file(file, path)
            else:
                with open(file, "rb") as content:
                    self._fs.pipe_file(path, content.read())

    def _read_object(self, path: str, size: int) -> memoryview:
        if size <= IN_MEMORY_BYTES:
            return memoryview(bytearray(self._fs.cat_file(path)))
        import mmap
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="metaflow-") as file:
            self._fs.get_file(path, file.name)
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    def _object(self, path: str) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = self._fs.info(path)
        except FileNotFoundError:
            return None
        return info if info["type"] == "file" else None

    def _find_segments(self, path: str) -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = self._fs.ls(path + SEGMENTS, detail=True)
        except FileNotFoundError:
            return []
        return sorted(entries, key=lambda entry: str(entry["name"]))

    def _delete_segments(self, path: str) -> None:
        with self._errors("change"):
            for segment in self._find_segments(path):
                with suppress(FileNotFoundError):
                    self._fs.rm_file(segment["name"])

    def _missing(self, key: str) -> MetaflowDataMissing:
        return MetaflowDataMissing(f"{key} is not in the artifact store {self.url}: it was deleted.")

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        # The libraries behind fsspec raise errors of their own kinds: of HTTP, of botocore, of asyncio.
        try:
            yield
        except Exception as error:
            raise StorageError(f"Can't {verb} the artifact store {self.url}: {_words(error)}.") from error


def _when_written(info: Mapping[str, Any]) -> float:
    """Seconds since 1970. Where a file system does not tell, an object counts as new, and is never too old to keep."""
    for name in WRITTEN:
        value = info.get(name)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return time.time()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(". ") if str(error) else type(error).__name__
