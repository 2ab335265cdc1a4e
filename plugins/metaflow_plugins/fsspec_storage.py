"""Artifacts and logs in any object store that fsspec reaches: ``gs://``, ``az://``, ``memory://`` ...

Nothing here renames. An object is uploaded in one operation, which such stores make visible as a whole. What they
can't do is append: a log is a folder of segments (``1.0.log.~/00000000`` ...) that reading joins. The last one is
uploaded again with each append until it is large enough for the next to begin, so few objects are made.

A request that the network has lost is repeated for a minute, if the server has answered before.

Every request takes a while, so there are few: what was read or written here once is kept (``read_cache``), and many
small objects go at a time.

fsspec is imported when a store is opened, and never in a process that uses none.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any, TypeVar

from metaflow_core.errors import MetaflowDataMissing, MetaflowException, PluginError, StorageError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.store.interface import Storage, StoredObject, check_key

from metaflow_plugins.read_cache import ReadCache

SEGMENT_BYTES = 256 * 1024
SEGMENTS = ".~"
LOGS = "logs/"
# Above this an object is a file before it is sent, and after it was received, so that memory holds it once at most.
IN_MEMORY_BYTES = 16 * 1024 * 1024
AT_A_TIME = 32
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
WAIT_SECONDS = 60.0  # for a server that was there before
BUSY = (429, 500, 502, 503, 504)
NETWORK_ERRORS = {
    "aiohttp": ("ClientError",),
    "azure.core.exceptions": ("ServiceRequestError", "ServiceResponseError"),
    "botocore.exceptions": ("ConnectionError", "HTTPClientError"),
    "google.auth.exceptions": ("TransportError",),
}
# What the file systems behind fsspec call the time at which an object was written.
WRITTEN = ("mtime", "last_modified", "LastModified", "updated", "modified", "created")

T = TypeVar("T")
R = TypeVar("R")


@hookimpl(trylast=True)  # a plugin for one kind of address comes first
def open_storage(url: str) -> Storage | None:
    return FsspecStorage(url) if "://" in url and not url.startswith("file://") else None


class FsspecStorage(Storage):
    """Objects under ``url``. Open it after a fork: connections and threads are not shared between processes.

    ``options`` go to the file system of fsspec, beside those of fsspec's own configuration.
    """

    append_interval = 1.0

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        try:
            # Listings that fsspec remembers would hide what other processes write.
            self._fs, root = self._open(url, use_listings_cache=False, **options)
        except ImportError as error:
            raise PluginError(f"The artifact store {url} needs a package that is not installed: {error}.") from error
        except MetaflowException:
            raise
        except Exception as error:
            raise StorageError(f"The artifact store {url} can't be opened: {_words(error)}.") from error
        self._root = root.rstrip("/")
        self._segments: dict[str, tuple[int, bytearray]] = {}  # the last segment of each log that is written here
        self._cache = ReadCache(url)
        self._has_answered = False

    def _open(self, url: str, **options: Any) -> tuple[Any, str]:
        """The file system of fsspec, and the path in it."""
        import fsspec.core

        fs, root = fsspec.core.url_to_fs(url, **options)
        return fs, str(root)

    # --- writing ---------------------------------------------------------------------------------------------------

    def put(self, key: str, write: Callable[[IO[bytes]], None], replace: bool = False) -> float | None:
        path = self._path(key)
        if not replace:
            with self._errors("read"):
                found = self._parts(key)
            if found:
                return when_written(found[-1])
        try:
            written = self._put(key, path, write, replace)
        except OSError as error:
            try:
                if error.errno not in NO_ROOM:
                    raise
                written = self._put(key, path, write, replace, elsewhere=True)
            except OSError as error:
                raise StorageError(
                    f"Can't write a temporary file: {_words(error)}. "
                    f"Set METAFLOW_STORE_CACHE or TMPDIR to another folder."
                ) from error
        if replace and key.startswith(LOGS):
            self._segments.pop(key, None)
            self._delete_segments(path)
        return written

    def _put(
        self, key: str, path: str, write: Callable[[IO[bytes]], None], replace: bool, elsewhere: bool = False
    ) -> float | None:
        with self._cache.new_file(elsewhere) as (file, copy):
            write(file)
            file.flush()
            with self._errors("write"):
                self._send(copy, path)
            if not key.startswith(LOGS):
                self._cache.keep(key, copy)
        return None

    def put_all(self, objects: Sequence[tuple[str, Callable[[IO[bytes]], None]]]) -> list[float | None]:
        return _at_a_time(lambda one: self.put(*one), objects)

    def append(self, key: str, data: bytes) -> None:
        if not data:
            return
        path = self._path(key)
        with self._errors("write"):
            number, before = self._segments.get(key) or (len(self._find_segments(path)), bytearray())
            if len(before) >= SEGMENT_BYTES:
                number, before = number + 1, bytearray()
            after = before + data
            self._ask("pipe_file", f"{path}{SEGMENTS}/{number:08d}", bytes(after))
            self._segments[key] = number, after

    def _send(self, file: str, path: str) -> None:
        if os.path.getsize(file) > IN_MEMORY_BYTES:
            self._ask("put_file", file, path)
        else:
            with open(file, "rb") as content:
                self._ask("pipe_file", path, content.read())

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, end: int | None = None) -> memoryview:
        path = self._path(key)
        if key.startswith(LOGS):
            return self._read_log(key, path)[start:end]
        file = self._cache.open(key)
        if file is not None:
            with file:
                return _content(file)[start:end]
        whole = start == 0 and end is None
        with suppress(FileNotFoundError), self._errors("read"):
            if end is not None and end - start <= IN_MEMORY_BYTES:
                return memoryview(bytearray(self._range(path, start, end)))
            first = self._range(path, start, start + IN_MEMORY_BYTES)
            if len(first) < IN_MEMORY_BYTES and not whole:
                return memoryview(bytearray(first))
            if len(first) < IN_MEMORY_BYTES:
                self._cache.keep_bytes(key, first)
                return memoryview(bytearray(first))[start:end]
            try:
                return self._fetch(key, path)[start:end]
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
            return self._fetch(key, path, elsewhere=True)[start:end]
        raise self._missing(key)

    def _fetch(self, key: str, path: str, elsewhere: bool = False) -> memoryview:
        """A large object, by way of a file."""
        with self._cache.new_file(elsewhere) as (_, copy):
            self._ask("get_file", path, copy)
            if os.path.getsize(copy) != int(self._ask("info", path)["size"]):
                raise ConnectionError(f"only a part of {key} arrived")
            with open(copy, "rb", buffering=0) as file:
                self._cache.keep(key, copy)
                return _content(file)

    def prefetch(self, keys: Sequence[str]) -> None:
        def fetch(key: str) -> None:
            file = self._cache.open(key)
            if file is not None:
                file.close()
                return
            with suppress(FileNotFoundError):
                content = self._range(self._path(key), 0, IN_MEMORY_BYTES)
                if len(content) < IN_MEMORY_BYTES:
                    self._cache.keep_bytes(key, content)

        with suppress(Exception):  # who reads the object will be told what is wrong
            _at_a_time(fetch, keys)

    def distrust(self, key: str) -> None:
        self._cache.forget(key)

    def _range(self, path: str, start: int, end: int) -> bytes:
        if start >= end:
            self._ask("info", path)
            return b""
        try:
            content: bytes = self._ask("cat_file", path, start=start, end=end)
        except Exception as error:
            # A range behind the end of an object, which any range of an empty one is, counts as an error. Of what kind,
            # each library has its own idea.
            if isinstance(error, FileNotFoundError) or self._is_passing(error):
                raise
            if int(self._ask("info", path).get("size") or 0) > start:
                raise
            return b""
        return content

    def _read_log(self, key: str, path: str) -> memoryview:
        with self._errors("read"):
            parts = self._parts(key)
            content = [self._ask("cat_file", part["name"]) for part in parts if part["size"]]
        if not parts:
            raise self._missing(key)
        return memoryview(bytearray(b"".join(content)))

    def exists(self, key: str) -> bool:
        with self._errors("read"):
            return bool(self._parts(key))

    def size(self, key: str) -> int:
        with self._errors("read"):
            parts = self._parts(key)
        if not parts:
            raise self._missing(key)
        return sum(int(part["size"]) for part in parts)

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.scan(prefix))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        starts = [self._path(prefix)] if prefix else [self._root]
        if prefix.startswith(LOGS):
            starts.append(starts[0] + SEGMENTS)
        found: dict[str, StoredObject] = {}
        with self._errors("read"):
            for start in starts:
                listed = self._ask("find", start, detail=True)
                # adlfs answers with a list, whatever was asked for, when the path is an object itself.
                for path, info in (listed if isinstance(listed, dict) else {path: {} for path in listed}).items():
                    if not _is_object(path, info):
                        continue
                    folder, _, _ = path.rpartition("/")
                    key = (folder.removesuffix(SEGMENTS) if folder.endswith(SEGMENTS) else path)[len(self._root) :]
                    key = key.lstrip("/")
                    info = info or self._ask("info", path)  # `find` may know nothing of a path that is an object
                    size, modified = int(info["size"] or 0), when_written(info)
                    if key in found:  # a further segment of a log
                        size, modified = size + found[key].size, max(modified, found[key].modified)
                    found[key] = StoredObject(key, size, modified)
        yield from (found[key] for key in sorted(found))

    # --- the rest --------------------------------------------------------------------------------------------------

    def delete(self, key: str) -> None:
        path = self._path(key)
        self._segments.pop(key, None)
        self._cache.forget(key)
        with self._errors("change"), suppress(FileNotFoundError):
            self._ask("rm_file", path)
        if key.startswith(LOGS):
            self._delete_segments(path)

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        return 0, 0  # an upload that was killed has made no object

    def close(self) -> None:
        self._segments.clear()

    def _ask(self, request: str, *args: Any, **options: Any) -> Any:
        """A request of the file system of fsspec. Each can be repeated, and is while the network fails."""
        patience = Patience()
        while True:
            try:
                answer = getattr(self._fs, request)(*args, **options)
            except Exception as error:
                time.sleep(self._pause(patience, error))
            else:
                self._has_answered = True
                return answer

    def _pause(self, patience: Patience, error: Exception) -> float:
        """The seconds after which to repeat a request; or the error, when that makes no sense.

        A server that has never answered is not waited for unless it was there before: its address may be wrong.
        """
        if not self._is_passing(error):
            self._has_answered = self._has_answered or isinstance(error, FileNotFoundError)
            raise error
        if not (self._has_answered or self.patient) or not patience.is_left():
            raise error
        return patience.next_pause()

    def _is_passing(self, error: BaseException) -> bool:
        """Whether the same request may succeed a little later."""
        kinds = tuple(_network_errors())
        cause: BaseException | None = error
        while cause is not None:
            status = _status(cause)
            if status is not None:
                return status in BUSY
            if isinstance(cause, kinds):
                return True
            cause = cause.__cause__
        return False

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _parts(self, key: str) -> list[dict[str, Any]]:
        """The object, or the segments of the log; empty when there is none."""
        path = self._path(key)
        with suppress(FileNotFoundError):
            info: dict[str, Any] = self._ask("info", path)
            if info["type"] == "file":
                return [info]
        return self._find_segments(path) if key.startswith(LOGS) else []

    def _find_segments(self, path: str) -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = self._ask("ls", path + SEGMENTS, detail=True)
        except FileNotFoundError:
            return []
        objects = (entry for entry in entries if _is_object(entry["name"], entry))
        return sorted(objects, key=lambda entry: str(entry["name"]))

    def _delete_segments(self, path: str) -> None:
        with self._errors("change"):
            for segment in self._find_segments(path):
                with suppress(FileNotFoundError):
                    self._ask("rm_file", segment["name"])

    def _missing(self, key: str) -> MetaflowDataMissing:
        return MetaflowDataMissing(f"{key} is not in the artifact store {self.url}: it was deleted.")

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        # The libraries behind fsspec raise errors of their own kinds: of HTTP, of botocore, of asyncio.
        try:
            yield
        except MetaflowException:  # of @timeout, which interrupts whatever is going on
            raise
        except Exception as error:
            if verb == "read" and isinstance(error, FileNotFoundError):
                raise
            raise StorageError(f"Can't {verb} the artifact store {self.url}: {self._reason(error)}.") from error

    def _reason(self, error: Exception) -> str:
        return _words(error)


class Patience:
    """How long a request is repeated, and how often."""

    def __init__(self) -> None:
        self._end, self._pause = time.monotonic() + WAIT_SECONDS, 0.1

    def is_left(self) -> bool:
        return time.monotonic() + self._pause <= self._end

    def next_pause(self) -> float:
        pause, self._pause = self._pause, min(5.0, 2 * self._pause)
        return pause


def _is_object(path: str, info: Mapping[str, Any]) -> bool:
    """Some servers list a folder, by its name with a slash or as a directory, when its last object is gone."""
    return not path.endswith("/") and info.get("type") != "directory"


def _content(file: IO[bytes]) -> memoryview:
    """What a file holds, as a private copy."""
    size = os.fstat(file.fileno()).st_size
    if size > IN_MEMORY_BYTES:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return memoryview(bytearray(file.read()))


def _at_a_time(act: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``act`` on each item, in threads: they wait for the network most of the time."""
    items = list(items)
    if len(items) < 2:
        return [act(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(AT_A_TIME, len(items))) as pool:
        return list(pool.map(act, items))


def _network_errors() -> Iterator[type[BaseException]]:
    """What the libraries behind fsspec raise when a server is not reached, or goes away; those that are loaded."""
    yield from (ConnectionError, TimeoutError)
    for module, names in NETWORK_ERRORS.items():
        loaded = sys.modules.get(module)
        yield from (getattr(loaded, name) for name in names if loaded)


def _status(error: BaseException) -> int | None:
    """The status of HTTP with which a server has answered."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):  # of botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # of azure.core, of gcsfs
        found = next((getattr(error, name) for name in ("status_code", "status", "code") if hasattr(error, name)), None)
    return found if isinstance(found, int) else None


def when_written(info: Mapping[str, Any]) -> float:
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
    # After its first line Azure shows the whole answer, in XML.
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}".rstrip(". ") if first else type(error).__name__
