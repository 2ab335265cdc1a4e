"""Artifacts and logs in Amazon S3, or in any server that speaks its protocol: ``s3://bucket/prefix``.

The server is ``METAFLOW_S3_ENDPOINT_URL``, else what botocore finds (``AWS_ENDPOINT_URL_S3``, ``~/.aws/config``);
credentials are botocore's own: environment, ``~/.aws``, roles of a machine. botocore and s3fs repeat a request that
failed on the way, or that the server was too busy for, within seconds; what lasts longer is waited for here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from metaflow_core import settings
from metaflow_core.hookspecs import hookimpl
from metaflow_core.store.interface import Storage

from metaflow_plugins.fsspec_storage import FsspecStorage, when_written


@hookimpl
def open_storage(url: str) -> Storage | None:
    return S3Storage(url) if url.startswith("s3://") else None


class S3Storage(FsspecStorage):
    """Objects in a bucket."""

    def __init__(self, url: str) -> None:
        endpoint = settings.get("S3_ENDPOINT_URL")
        super().__init__(url, **({"endpoint_url": endpoint} if endpoint else {}))
        self._conditional = True

    def _upload(self, file: str, path: str, replace: bool) -> float | None:
        if replace or not self._conditional:
            return super()._upload(file, path, replace)
        # Only where there is none yet: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        try:
            self._send(file, path, mode="create")
        except Exception as error:
            code = _code(error)
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                with suppress(FileNotFoundError):  # of two who write the same thing the other one may have failed
                    return when_written(self._fs.info(path))
            elif code not in ("NotImplemented", "501"):
                raise
            else:
                self._conditional = False
            return super()._upload(file, path, replace=True)
        return None

    def _is_passing(self, error: BaseException) -> bool:
        from aiohttp import ClientError
        from botocore.exceptions import ConnectionError as NotConnected
        from botocore.exceptions import HTTPClientError

        cause: BaseException | None = error
        while cause is not None:
            response: Any = getattr(cause, "response", None)
            if isinstance(response, dict):
                status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                # The answer to the end of an upload in parts was lost, and to repeat that found it done.
                return status in (429, 500, 502, 503, 504) or _code(cause) == "NoSuchUpload"
            if isinstance(cause, (NotConnected, HTTPClientError, ClientError)):
                return True
            cause = cause.__cause__
        return super()._is_passing(error)

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


def _code(error: BaseException | None) -> str:
    """What S3 calls the error, from the exception of botocore behind that of s3fs."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
