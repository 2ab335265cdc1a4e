"""How artifact files are compressed."""

from __future__ import annotations

import pyarrow as pa

from metaflow_core import settings

_SMALLEST = 1 << 16  # bytes; below, there is nothing to gain


def options(size: int) -> pa.ipc.IpcWriteOptions:
    """How to write a file with ``size`` bytes of data, by the setting ``METAFLOW_ARTIFACT_COMPRESSION``.

    The default is ``none``: such a file is read in place, without a copy.
    """
    name = settings.get("ARTIFACT_COMPRESSION")
    return pa.ipc.IpcWriteOptions(compression=None if name == "none" or size < _SMALLEST else name)
