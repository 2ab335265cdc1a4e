"""Artifacts and logs in Google Cloud Storage: ``gs://bucket/prefix``.

Credentials are found by gcsfs: ``GOOGLE_APPLICATION_CREDENTIALS``, those of gcloud, roles of a machine. An emulator is
named by ``STORAGE_EMULATOR_HOST``.
"""

from __future__ import annotations

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

        return GCSFileSystem(**options), GCSFileSystem._strip_protocol(url)
