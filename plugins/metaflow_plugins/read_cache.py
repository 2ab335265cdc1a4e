"""Copies of a distant store's objects on this machine, for all processes of a user.

A copy is a file of its own that is renamed into place, so it is there as a whole or not at all, and whoever reads it
keeps it while it is removed. Only objects whose name follows from their content are kept, so a copy is never outdated.
When the copies take more than ``METAFLOW_STORE_CACHE_SIZE``, those go that were not used for the longest time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from metaflow_core import settings

CHECKED_BYTES = 32 << 20  # after so many new bytes in this process the whole is measured
CHECKED_FILES = 500


class ReadCache:
    """The copies of objects of the store at ``url``. A folder that can't be used makes an empty cache, and no error."""

    def __init__(self, url: str) -> None:
        from blake3 import blake3

        self._top = settings.get("STORE_CACHE")
        self._limit: int = settings.get("STORE_CACHE_SIZE") << 20
        self._folder = os.path.join(self._top, blake3(url.encode()).hexdigest()[:16])
        self._new_bytes = self._new_files = 0

    def open(self, key: str) -> IO[bytes] | None:
        """The copy of an object, or None."""
        try:
            file = open(self._path(key), "rb", buffering=0)  # noqa: SIM115
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size == 0:  # as a power cut leaves it; nothing is won with an empty copy
            file.close()
            return None
        with suppress(OSError):
            os.utime(file.fileno())
        return file

    def forget(self, key: str) -> None:
        with suppress(OSError):
            os.unlink(self._path(key))

    @contextmanager
    def new_file(self, elsewhere: bool = False) -> Iterator[tuple[IO[bytes], str]]:
        """A file, and its path, for content that may become a copy; in the cache's folder where possible.

        ``elsewhere`` is for when the cache's disk was full: among the temporary files, and never a copy.

        It is gone afterwards unless :meth:`keep` has kept it.
        """
        import tempfile

        try:
            if elsewhere:
                raise OSError
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            number, path = tempfile.mkstemp(prefix=".new-", dir=self._folder)
        except OSError:
            number, path = tempfile.mkstemp(prefix="metaflow-")
        try:
            with open(number, "w+b") as file:
                yield file, path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def takes(self, size: int) -> bool:
        """Whether a copy of so many bytes would be kept."""
        return size <= self._limit // 2

    def keep_bytes(self, key: str, content: bytes) -> None:
        """Make a copy of a whole object, where there is room for one."""
        if not self.takes(len(content)):
            return
        with suppress(OSError), self.new_file() as (new, path):
            new.write(content)
            new.flush()
            self.keep(key, path)

    def keep(self, key: str, path: str) -> None:
        """Take over a file of :meth:`new_file` that holds the whole object. The file stays open for its reader."""
        size = os.path.getsize(path)
        if not self.takes(size) or os.path.dirname(path) != self._folder:
            return
        target = self._path(key)
        with suppress(OSError):
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.replace(path, target)
        self._new_bytes += size
        self._new_files += 1
        if self._new_bytes > min(CHECKED_BYTES, self._limit // 8) or self._new_files > CHECKED_FILES:
            self._new_bytes = self._new_files = 0
            self._remove_unused()

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, *key.split("/"))

    def _remove_unused(self) -> None:
        """Bring the copies of all stores down to three quarters of the limit, when they are above it."""
        found = []
        for folder, _, names in os.walk(self._top):
            for name in names:
                with suppress(OSError):
                    path = os.path.join(folder, name)
                    status = os.stat(path)
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self._limit:
            return
        for _, size, path in sorted(found):
            with suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= self._limit * 3 // 4:
                return
