"""Artifacts and logs in Google Cloud Storage: ``gs://bucket/prefix``.

Credentials are found by gcsfs: ``GOOGLE_APPLICATION_CREDENTIALS``, those of gcloud, roles of a machine. An emulator is
named by ``STORAGE_EMULATOR_HOST``.
"""

from __future__ import annotations

import logging
from typing import Any

from metaflow_core.hookspecs import hookimpl
from metaflow_core.store.interface import Storage

from metaflow_plugins.fsspec_storage import FsspecStorage


@hookimpl
def open_storage(url: str) -> Storage | None:
    return GSStorage(url) if url.startswith(("gs://", "gcs://")) else None


class GSStorage(FsspecStorage):
    """Objects in a bucket."""

    def _open(self, url: str, **options: Any) -> tuple[Any, str]:
        # What gcsfs registers asks, in each process and over gRPC, of which kind a bucket is, and warns who may not
        # know. For objects that are written once and never renamed, all kinds are the same.
        from gcsfs.core import GCSFileSystem

        # It logs each failed request with a traceback, which Python prints where nobody has set up logging.
        logging.getLogger("gcsfs").addHandler(logging.NullHandler())
        return GCSFileSystem(**options), GCSFileSystem._strip_protocol(url)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):  # gcsfs names the address of the request
            return f"there is no bucket {self._root.partition('/')[0]}"
        return super()._reason(error)
