"""Uploads to S3 that go on while what they send is still being made.

A small object is one request. A larger one goes in parts, each as soon as it is full, and is visible when the last
request has put them together. So nothing waits for a disk, and only some megabytes are on the way at any time. All
requests are made by the event loop of s3fs, which costs half of what a thread for each would.
"""

from __future__ import annotations

import io
import threading
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any

from metaflow_plugins.fsspec_storage import LOGS, when_written

if TYPE_CHECKING:
    from concurrent.futures import Future

    from metaflow_plugins.read_cache import ReadCache
    from metaflow_plugins.s3_storage import S3Storage

PART_BYTES = 16 << 20  # an object up to this size is one request
PARTS_OF_A_SIZE = 2000  # of the 10,000 that S3 allows; then they are twice as large
REQUESTS = 32
REQUEST_BYTES = 64 << 20  # of all requests that are on the way
EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
NOT_CONDITIONAL = ("NotImplemented", "501")


class Room:
    """How much may be on the way at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = self._bytes = 0

    def take(self, size: int) -> None:
        """Wait until there is room for a request of this size; when nothing is on the way there is."""
        with self._changed:
            while self._count and (self._count >= REQUESTS or self._bytes + size > REQUEST_BYTES):
                self._changed.wait()
            self._count, self._bytes = self._count + 1, self._bytes + size

    def give(self, size: int) -> None:
        with self._changed:
            self._count, self._bytes = self._count - 1, self._bytes - size
            self._changed.notify_all()


class Upload(io.RawIOBase):
    """A file to write to; what was written is the object ``key`` when :meth:`result` returns.

    An object that is there stays, unless it is to be replaced. Call :meth:`finish` when all is written, and
    :meth:`abort` when something went wrong.
    """

    def __init__(self, storage: S3Storage, room: Room, cache: ReadCache, key: str, replace: bool) -> None:
        self._storage, self._room, self._key, self._replace = storage, room, key, replace
        self._place = storage.place(key)
        self._cache = None if key.startswith(LOGS) else cache
        self._size = 0
        self._full = io.BytesIO()  # what the next request will send
        self._id: str | None = None  # of an upload in parts
        self._parts: list[Future[Any]] = []
        self._end: Future[float | None] | None = None
        self._found: float | None = None  # when the object that is there was written
        self._copies = ExitStack()
        self._copy: tuple[IO[bytes], str] | None = None  # for the cache

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        self._size += size
        while len(rest) and self._found is None:
            # The last part goes with `finish`, as only then it is known whether there are several.
            room = self._part_bytes() - self._full.tell()
            if room == 0:
                self._send_part()
                continue
            self._full.write(rest[:room])
            rest = rest[room:]
        return size

    def _part_bytes(self) -> int:
        return PART_BYTES << len(self._parts) // PARTS_OF_A_SIZE

    def _send_part(self) -> None:
        if self._id is None:
            self._begin_parts()
        if self._found is not None:
            return
        part, self._full = self._full.getvalue(), io.BytesIO()
        self._add_to_copy(part)
        size, number = len(part), len(self._parts) + 1
        self._room.take(size)
        for sent in self._parts[-REQUESTS:]:
            if sent.done():
                self._storage.result(sent)  # when it has failed, no more is sent for nothing
        request = self._storage.call("upload_part", UploadId=self._id, PartNumber=number, Body=part, **self._place)
        self._parts.append(self._storage.later(request))
        self._parts[-1].add_done_callback(lambda _: self._room.give(size))

    def _begin_parts(self) -> None:
        """Before much is sent for nothing, it is looked whether the object is there."""
        if not self._replace:
            info = self._storage.wait(self._storage.head(self._key))
            if info is not None:
                self._found = when_written(info)
                return
        self._id = self._storage.wait(self._storage.call("create_multipart_upload", **self._place))["UploadId"]
        if self._cache is not None:
            with suppress(OSError):
                self._copy = self._copies.enter_context(self._cache.new_file())

    def _add_to_copy(self, part: bytes) -> None:
        if self._copy is not None and self._cache is not None:
            try:
                if not self._cache.takes(self._size):
                    self._drop_copy()
                else:
                    self._copy[0].write(part)
            except OSError:  # a full disk: it is no more than a copy
                self._drop_copy()

    # --- its end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """All is written. What is still to be sent goes on its way."""
        if self._found is not None:
            return
        if self._id is None:
            self._room.take(self._size)
            self._end = self._storage.later(self._put(self._full.getvalue()))
            self._end.add_done_callback(lambda _: self._room.give(self._size))
        else:
            self._send_part()
            self._end = self._storage.later(self._put_together())

    @property
    def is_done(self) -> bool:
        return self._end is None or self._end.done()

    def result(self) -> float | None:
        """Wait for the end; when the object was there already, gives when it was written."""
        if self._end is None:
            return self._found
        found = self._storage.result(self._end)
        if found is None and self._cache is not None:
            if self._id is None:
                self._cache.keep_bytes(self._key, self._full.getvalue())
            elif self._copy is not None:
                with suppress(OSError):
                    self._copy[0].flush()
                    self._cache.keep(self._key, self._copy[1])
        self._drop_copy()
        return found

    def abort(self) -> None:
        """Leave nothing behind."""
        self._drop_copy()
        for future in (*self._parts, self._end):
            if future is not None:
                future.cancel()
        if self._id is not None:
            with suppress(Exception):
                self._storage.later(self._abort()).result(10)

    def _drop_copy(self) -> None:
        self._copy = None
        self._copies.close()

    # --- in the event loop -------------------------------------------------------------------------------------------

    async def _put(self, content: bytes) -> float | None:
        return await self._create("put_object", Body=content, **self._place)

    async def _put_together(self) -> float | None:
        from asyncio import wrap_future

        parts = [
            {"PartNumber": number, "ETag": (await wrap_future(part))["ETag"]}
            for number, part in enumerate(self._parts, 1)
        ]
        found = await self._create(
            "complete_multipart_upload", UploadId=self._id, MultipartUpload={"Parts": parts}, **self._place
        )
        if found is not None:
            with suppress(Exception):  # it has done what it should; `metaflow gc` removes what is left
                await self._abort()
        return found

    async def _create(self, request: str, **arguments: Any) -> float | None:
        """The request that makes the object, unless there is one and it is to stay; then when that was written."""
        storage = self._storage
        if self._replace or not storage.conditional:
            await self._make(request, arguments)
            return None
        try:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            await self._make(request, {**arguments, "IfNoneMatch": "*"})
        except Exception as error:
            code = code_of(error)
            if code in NOT_CONDITIONAL:
                storage.conditional = False
            elif code in EXISTS:
                info = await storage.head(self._key)
                if info is not None:  # of two who write the same thing the other one may have failed
                    return when_written(info)
            else:
                raise
            await self._make(request, arguments)
        return None

    async def _make(self, request: str, arguments: dict[str, Any]) -> None:
        try:
            await self._storage.call(request, **arguments)
        except Exception as error:
            # The answer to the end of an upload in parts was lost, and to repeat that finds it done.
            if code_of(error) != "NoSuchUpload":
                raise
            info = await self._storage.head(self._key)
            if info is None or info["ContentLength"] != self._size:
                raise

    async def _abort(self) -> None:
        await self._storage.call("abort_multipart_upload", UploadId=self._id, **self._place)


def code_of(error: BaseException | None) -> str:
    """What S3 calls the error, from the exception of botocore behind that of s3fs."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
