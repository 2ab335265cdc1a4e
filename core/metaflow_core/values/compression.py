"""The setting that compresses artifact files."""

from __future__ import annotations

import os

import pyarrow as pa

from metaflow_core.errors import MetaflowException

SETTING = "METAFLOW_ARTIFACT_COMPRESSION"
_SMALLEST = 1 << 16  # bytes; below, there is nothing to gain


def options(size: int) -> pa.ipc.IpcWriteOptions:
    """How to write a file with ``size`` bytes of data. ``none`` is the default: such a file is read without a copy."""
    name = os.environ.get(SETTING, "none").lower() or "none"
    if name not in ("none", "lz4", "zstd"):
        raise MetaflowException(f"{SETTING} is {name!r}; it can be none, lz4 or zstd.")
    return pa.ipc.IpcWriteOptions(compression=None if name == "none" or size < _SMALLEST else name)
