"""Artifacts and logs in Amazon S3, or in any server that speaks its protocol: ``s3://bucket/prefix``.

The server is ``METAFLOW_S3_ENDPOINT_URL``, else what botocore finds (``AWS_ENDPOINT_URL_S3``, ``~/.aws/config``);
credentials are botocore's own: environment, ``~/.aws``, roles of a machine. botocore and s3fs repeat a request that
failed on the way, or that the server was too busy for, within seconds; what lasts longer is waited for here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeVar

from metaflow_core import settings
from metaflow_core.errors import StorageError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.store.interface import Storage

from metaflow_plugins.fsspec_storage import LOGS, FsspecStorage, Patience

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
Writer = Callable[[IO[bytes]], None]


@hookimpl
def open_storage(url: str) -> Storage | None:
    return S3Storage(url) if url.startswith("s3://") else None


class S3Storage(FsspecStorage):
    """Objects in a bucket."""

    def __init__(self, url: str) -> None:
        endpoint = settings.get("S3_ENDPOINT_URL")
        super().__init__(url, **({"endpoint_url": endpoint} if endpoint else {}))
        self.conditional = True  # whether the server can make an object only where there is none

    # --- writing: see s3_upload --------------------------------------------------------------------------------------

    def put_all(self, objects: Sequence[tuple[str, Writer]]) -> list[float | None]:
        return self._put_each(objects, replace=False)

    def _put(self, key: str, path: str, write: Writer, replace: bool, elsewhere: bool = False) -> float | None:
        return self._put_each([(key, write)], replace)[0]

    def _put_each(self, objects: Sequence[tuple[str, Writer]], replace: bool) -> list[float | None]:
        from metaflow_plugins.s3_upload import REQUESTS, Room, Upload

        room, found = Room(), list[float | None]()
        uploads = deque[Upload]()
        try:
            for key, write in objects:
                upload = Upload(self, room, self._cache, key, replace)
                uploads.append(upload)
                try:
                    write(upload)  # type: ignore[arg-type]
                except OSError as error:
                    raise StorageError(f"Can't write {key}: {error}.") from error
                upload.finish()
                while len(uploads) > REQUESTS or (uploads and uploads[0].is_done):
                    found.append(uploads[0].result())
                    uploads.popleft()
            while uploads:
                found.append(uploads[0].result())
                uploads.popleft()
        except BaseException:
            for upload in uploads:
                upload.abort()
            raise
        return found

    # --- requests, without what s3fs adds to them --------------------------------------------------------------------

    def place(self, key: str) -> dict[str, str]:
        """Where an object is, as the arguments of a request."""
        bucket, _, name = self._path(key).partition("/")
        return {"Bucket": bucket, "Key": name}

    async def call(self, request: str, **arguments: Any) -> Any:
        """A request of S3, in the event loop of s3fs. It is repeated while the network fails."""
        import asyncio

        patience = Patience()
        while True:
            try:
                answer = await self._fs._call_s3(request, **arguments)
            except Exception as error:
                await asyncio.sleep(self._pause(patience, error))
            else:
                self._has_answered = True
                return answer

    async def head(self, key: str) -> dict[str, Any] | None:
        """What S3 says of an object; None when there is none."""
        try:
            answer: dict[str, Any] = await self.call("head_object", **self.place(key))
        except FileNotFoundError:
            return None
        return answer

    def later(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.result(self.later(coroutine))

    def result(self, future: Future[T]) -> T:
        with self._errors("write"):
            return future.result()

    def _parts(self, key: str) -> list[dict[str, Any]]:
        if key.startswith(LOGS):
            return super()._parts(key)
        info = self.later(self.head(key)).result()
        return [] if info is None else [{"name": self._path(key), "size": info["ContentLength"], **info}]

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        bucket, _, prefix = self._root.partition("/")
        count = 0
        with self._errors("change"):
            for upload in self._fs.list_multipart_uploads(bucket):
                if upload["Key"].startswith(prefix) and upload["Initiated"].timestamp() < before:
                    count += 1
                    if not dry_run:
                        self._fs.call_s3(
                            "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
        return count, 0
