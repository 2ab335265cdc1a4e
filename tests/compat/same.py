"""Whether two values of Python are the same: type, dtype, order, and NaN as NaN."""

from __future__ import annotations

import struct
from typing import Any


class Handle:
    """Equals the handle of an object of another language."""

    def __init__(self, language: str, type: str) -> None:
        self.facts = language, type


def same(a: Any, b: Any) -> bool:
    """``a`` and ``b`` are values; a part of ``b`` may be a :class:`Handle`."""
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    if a is b:
        return True
    if isinstance(b, Handle):
        return (getattr(a, "language", None), getattr(a, "type", None)) == b.facts
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (a != a and b != b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            return a.shape == b.shape and b.dtype == object and all(map(same, a.flat, b.flat))
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM")
    if isinstance(a, pd.DataFrame):
        columns = a.columns.equals(b.columns) and a.shape == b.shape and a.index.equals(b.index)
        pairs = zip(range(a.shape[1]), range(b.shape[1]), strict=False)
        return columns and a.attrs == b.attrs and all(_same_column(a.iloc[:, i], b.iloc[:, j]) for i, j in pairs)
    if isinstance(a, pd.Series):
        return a.index.equals(b.index) and same(a.name, b.name) and _same_column(a, b)
    if isinstance(a, pd.Categorical):
        return a.dtype == b.dtype and list(a.codes) == list(b.codes) and list(a.categories) == list(b.categories)
    if sp.issparse(a):
        return a.shape == b.shape and bool((a != b).nnz == 0)
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (a != a and b != b)


def _same_column(a: Any, b: Any) -> bool:
    if a.dtype != b.dtype:
        return False
    if a.dtype == object:
        return len(a) == len(b) and all(map(same, a.tolist(), b.tolist()))
    return bool(a.reset_index(drop=True).equals(b.reset_index(drop=True)))
