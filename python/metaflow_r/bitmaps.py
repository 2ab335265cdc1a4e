"""Arrow's bitmaps, which say where values are missing, and numpy's masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def missing_of(data: pa.Array) -> Any:
    """A mask that is True where nulls are, or None when there are none."""
    if not data.null_count:
        return None
    if pa.types.is_null(data.type) or data.buffers()[0] is None:
        return data.is_null().to_numpy(zero_copy_only=False)
    mask = flags(data.buffers()[0], data.offset, len(data))
    return np.logical_not(mask, out=mask)


def flags(bitmap: pa.Buffer, offset: int, count: int) -> Any:
    """The bits of a bitmap as a new mask."""
    first = offset // 8
    bits = np.frombuffer(bitmap, np.uint8)[first : (offset + count + 7) // 8]
    return np.unpackbits(bits, bitorder="little")[offset - 8 * first :][:count].view(bool)


def validity(present: Any) -> pa.Buffer:
    """A mask as a bitmap."""
    return pa.py_buffer(np.packbits(present, bitorder="little"))
