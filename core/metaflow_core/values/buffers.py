"""Numpy arrays that are views of Arrow data, and the reverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]


class _Memory:
    """Memory of an Arrow array, as numpy's array interface describes it; keeps the Arrow array alive."""

    def __init__(self, owner: pa.Buffer, address: int, size: int, writable: bool) -> None:
        self.owner = owner
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address, not writable)}


def view(data: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any], *, writable: bool) -> Array:
    """The values of fixed-width data as ``dtype``, without a copy when they are in one piece."""
    if isinstance(data, pa.ChunkedArray):
        if data.num_chunks != 1:
            return np.concatenate([np.empty(0, dtype), *(view(c, dtype, writable=False) for c in data.chunks)])
        data = data.chunk(0)
    while isinstance(data, pa.ExtensionArray):
        data = data.storage
    if pa.types.is_fixed_size_list(data.type):
        return view(data.flatten(), dtype, writable=writable)
    width = data.type.bit_width // 8
    size = len(data) * width
    if size == 0:
        return np.empty(len(data) if dtype.itemsize == 0 else 0, dtype)
    buffer = data.buffers()[1]
    memory = _Memory(buffer, buffer.address + data.offset * width, size, writable)
    return np.asarray(memory).view(dtype)


def arrow(values: Array, type: pa.DataType, mask: Array | None = None) -> pa.Array:
    """Contiguous values as Arrow data without a copy; ``mask`` is True at nulls."""
    validity = None
    if mask is not None and mask.any():
        validity = pa.array(~mask).buffers()[1]
    return pa.Array.from_buffers(
        type, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values).view(np.uint8))]
    )
