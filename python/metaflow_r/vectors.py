"""R's plain vectors as Arrow arrays and back, through their memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rpy2.rinterface import StrSexpVector

from metaflow_r import session, strings
from metaflow_r.bitmaps import flags, missing_of, validity
from metaflow_r.memory import new, numbers
from metaflow_r.sexp import NA_BITS, NA_INTEGER, set_attribute

_NA_REAL = np.array([0x7FF00000000007A2], np.uint64).view(np.float64)[0]
CHUNK = 1 << 16  # elements that stay in the cache while something is done with them


def chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def missing_reals(values: Any) -> Any:
    """Where R's NA is, or None when there is none."""
    if not len(values) or not np.isnan(np.min(values)):
        return None
    bits = values.view(np.uint64)
    found = np.zeros(len(values), bool)
    for part in chunks(len(values)):
        np.logical_and(np.isnan(values[part]), bits[part].astype(np.uint32) == NA_BITS, out=found[part])
    return found if found.any() else None


def array(type: pa.DataType, values: Any, missing: Any = None) -> pa.Array:
    """Numbers as Arrow data without a copy, null where ``missing`` is True."""
    present = None if missing is None or not missing.any() else validity(~missing)
    return pa.Array.from_buffers(type, len(values), [present, pa.py_buffer(values.view(np.uint8))])


def to_arrow(vector: Any, kind: str) -> pa.Array:
    """A vector without its attributes; NA is null."""
    if kind == "character":
        return strings.to_arrow(vector)
    values = numbers(vector, kind)
    if kind == "logical" or kind == "integer":
        return _whole_numbers(values, kind)
    if kind == "double":
        return array(pa.float64(), values, missing_reals(values))
    if kind == "raw":
        return array(pa.uint8(), values)
    pairs = pa.array(values) if not len(values) else array(pa.float64(), values)
    missing = missing_reals(values)
    if missing is None:
        return pa.FixedSizeListArray.from_arrays(pairs, 2)
    rows = missing.reshape(-1, 2).any(axis=1)
    return pa.FixedSizeListArray.from_arrays(pairs, 2, mask=pa.array(rows))


def _whole_numbers(values: Any, kind: str) -> pa.Array:
    """Arrow finds the missing ones, as bits."""
    data = array(pa.int32(), values)
    present = _differ(data, NA_INTEGER)
    bits = None if present.true_count == len(data) else present.buffers()[1]
    if kind == "integer":
        return pa.Array.from_buffers(pa.int32(), len(data), [bits, data.buffers()[1]])
    return pa.Array.from_buffers(pa.bool_(), len(data), [bits, _differ(data, 0).buffers()[1]])


def _differ(data: pa.Array, value: int) -> pa.Array:
    return pc.not_equal(data, pa.scalar(value, data.type))  # a plain int would be of another type, and so a copy made


# --- and back ---------------------------------------------------------------------------------------------------------


def one(data: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The data in one piece."""
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
        if isinstance(data, pa.ChunkedArray):
            data = data.chunk(0) if data.num_chunks else pa.array([], data.type)
    while isinstance(data, pa.ExtensionArray):
        data = data.storage
    return data


def fill(out: Any, values: Any, missing: Any, na: Any) -> None:
    """Set the elements of a new vector, with ``na`` where ``missing`` is True."""
    if missing is None:
        out[:] = values
        return
    for part in chunks(len(out)):
        out[part] = values[part]
        np.copyto(out[part], na, where=missing[part])


def from_booleans(data: pa.Array) -> Any:
    """Arrow's bits as a logical vector."""
    values = flags(data.buffers()[1], data.offset, len(data)) if len(data) else np.empty(0, bool)
    return from_numbers(values, missing_of(data))


def from_numbers(values: Any, missing: Any = None) -> Any:
    """A numpy array as an R vector: integers as integer where all fit, else as integer64."""
    kind = values.dtype.kind
    if kind in "iu":
        return _from_integers(values, missing)
    vector, out = new("logical" if kind == "b" else "double", len(values))
    fill(out, values, missing, NA_INTEGER if kind == "b" else _NA_REAL)
    return vector


def _from_integers(values: Any, missing: Any) -> Any:
    if values.dtype == np.int32:
        vector = _from_int32(values, missing)
        return integer64(values, missing) if vector is None else vector
    if values.dtype.itemsize > 2:
        shown = values if missing is None else np.where(missing, 0, values)
        if len(shown) and (int(shown.max()) >= 2**31 or int(shown.min()) <= NA_INTEGER):
            return integer64(shown, missing)
    vector, out = new("integer", len(values))
    fill(out, values, missing, NA_INTEGER)
    return vector


def _from_int32(values: Any, missing: Any) -> Any:
    """None when the number is among them that is NA in R."""
    if missing is None and len(values) and values.min() == NA_INTEGER:
        return None
    vector, out = new("integer", len(values))
    if missing is None:
        out[:] = values
        return vector
    for part in chunks(len(values)):
        out[part] = values[part]
        found = values[part] == NA_INTEGER
        if not np.array_equal(found, missing[part]):  # where R has written them, NA is in place already
            if (found & ~missing[part]).any():
                return None
            np.copyto(out[part], NA_INTEGER, where=missing[part])
    return vector


def integer64(values: Any, missing: Any = None) -> Any:
    """Integers as bit64's integer64; without bit64 as numbers, with a warning where that loses digits."""
    from metaflow_core.values import losses

    if missing is not None:
        values = np.where(missing, 0, values)
    fits = not len(values) or (int(values.max()) < 2**63 and int(values.min()) > -(2**63))  # bit64's NA is the least
    if not fits or not session.helper("has_bit64")()[0]:
        vector, out = new("double", len(values))
        out[:] = values
        if missing is not None:
            out[missing] = _NA_REAL
        if len(values) and (int(values.max()) > 2**53 or int(values.min()) < -(2**53)):
            advice = " Install the R package bit64 to keep them." if fits else ""
            losses.tell(f"whole numbers beyond 2^53 are not exact as numbers of R.{advice}")
        return vector
    vector, out = new("double", len(values))
    whole = out.view(np.int64)
    whole[:] = values
    if missing is not None:
        whole[missing] = np.iinfo(np.int64).min
    return set_attribute(vector, "class", StrSexpVector(["integer64"]))


def from_bytes(data: Any) -> Any:
    """Bytes as a raw vector."""
    raw, out = new("raw", len(data))
    out[:] = np.frombuffer(data, np.uint8)
    return raw
