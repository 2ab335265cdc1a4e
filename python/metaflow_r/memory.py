"""The memory of R's vectors, as numpy arrays."""

from __future__ import annotations

import mmap
from functools import cache
from typing import Any

import numpy as np

from metaflow_r.sexp import SEXPTYPES, VECTORS, address, rlib

_DTYPE = {
    "logical": np.int32,
    "integer": np.int32,
    "double": np.float64,
    "complex": np.float64,
    "raw": np.uint8,
    "character": np.int64,
}
_LARGE = 4 << 20  # bytes; numpy asks for large pages from here on


class _Memory:
    """Memory as numpy's array interface describes it; keeps the owner alive."""

    def __init__(self, start: int, size: int, owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (start, False)}


def at(start: int, count: int, dtype: Any, owner: Any = None) -> Any:
    """``count`` elements that begin at this address, as a numpy array without a copy."""
    if count == 0:
        return np.empty(0, dtype)
    return np.asarray(_Memory(start, count * np.dtype(dtype).itemsize, owner)).view(dtype)


def numbers(vector: Any, kind: str) -> Any:
    """The elements as a numpy view of R's memory, which it keeps alive. A complex number is two elements, and those of
    a character vector are addresses."""
    count = len(vector) * (2 if kind == "complex" else 1)
    return at(address(vector), count, _DTYPE[kind], vector) if count else np.empty(0, _DTYPE[kind])


def new(kind: str, count: int) -> tuple[Any, Any]:
    """A new vector, and a numpy view of its elements, which are not set yet."""
    from rpy2.rinterface_lib import _rinterface_capi as capi

    vector = VECTORS[kind](capi.SexpCapsule(rlib.Rf_allocVector(SEXPTYPES[kind], count)))
    elements = numbers(vector, kind)
    if elements.nbytes >= _LARGE:
        _use_large_pages(elements.ctypes.data, elements.nbytes)
    return vector, elements


def _use_large_pages(start: int, size: int) -> None:
    """Half of the time of a copy goes into the first use of each small page."""
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    if (advise := _madvise()) is not None:
        advise(first, (start + size - first) // mmap.PAGESIZE * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)


@cache
def _madvise() -> Any:
    if not hasattr(mmap, "MADV_HUGEPAGE"):  # Linux has it
        return None
    import ctypes

    found = getattr(ctypes.CDLL(None), "madvise", None)
    if found is not None:
        found.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    return found
