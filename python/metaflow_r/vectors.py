"""R's plain vectors as Arrow arrays and back, through their memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rpy2.rinterface import IntSexpVector, StrSexpVector

from metaflow_r import session
from metaflow_r.sexp import NA_BITS, NA_INTEGER, VECTORS, NotUtf8, address, cdata, rlib, set_attribute

_WIDTH = {"logical": 4, "integer": 4, "double": 8, "complex": 16, "raw": 1}
_DTYPE = {"logical": np.int32, "integer": np.int32, "double": np.float64, "complex": np.float64, "raw": np.uint8}
_NA_REAL = np.array([0x7FF00000000007A2], np.uint64).view(np.float64)[0]
_SEXPTYPE = {"logical": 10, "integer": 13, "double": 14, "complex": 15, "raw": 24}


class _Memory:
    """The memory of a vector, as numpy's array interface describes it; keeps the vector alive."""

    def __init__(self, vector: Any, size: int) -> None:
        self.vector = vector
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address(vector), False)}


def numbers(vector: Any, kind: str) -> Any:
    """The elements as a numpy view of R's memory, which it keeps alive. A complex number is two elements."""
    count = len(vector)
    if count == 0:
        return np.empty(0, _DTYPE[kind])
    return np.asarray(_Memory(vector, count * _WIDTH[kind])).view(_DTYPE[kind])


def missing_reals(values: Any) -> Any:
    """Where R's NA is, or None when there is none."""
    if not len(values) or not np.isnan(np.min(values)):
        return None
    bits = values.view(np.uint64)
    found = np.isnan(values) & ((bits & np.uint64(0xFFFFFFFF)) == NA_BITS)
    return found if found.any() else None


def array(type: pa.DataType, values: Any, missing: Any = None) -> pa.Array:
    """Numbers as Arrow data without a copy, null where ``missing`` is True."""
    validity = None if missing is None or not missing.any() else pa.array(~missing).buffers()[1]
    return pa.Array.from_buffers(type, len(values), [validity, pa.py_buffer(values.view(np.uint8))])


def to_arrow(vector: Any, kind: str) -> pa.Array:
    """A vector without its attributes; NA is null."""
    if kind == "character":
        return strings_to_arrow(vector)
    values = numbers(vector, kind)
    if kind == "logical":
        missing = values == NA_INTEGER
        return pa.array(values != 0, pa.bool_(), mask=missing if missing.any() else None)
    if kind == "integer":
        return array(pa.int32(), values, values == NA_INTEGER)
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


def strings_to_arrow(vector: Any) -> pa.Array:
    """R writes the texts one after the other, each with a NUL at its end; numpy takes the NULs out."""
    pieces, missing = session.helper("string_bytes")(vector)
    if pieces.typeof != 19:
        raise NotUtf8
    arrays = []
    for piece in pieces:
        data = numbers(piece, "raw")
        ends = np.flatnonzero(data == 0)
        offsets = np.zeros(len(ends) + 1, np.int64)
        offsets[1:] = ends - np.arange(len(ends))
        text = pa.py_buffer(data[data != 0])
        arrays.append(pa.Array.from_buffers(pa.large_string(), len(ends), [None, pa.py_buffer(offsets), text]))
    whole = arrays[0] if len(arrays) == 1 else pa.concat_arrays([pa.array([], pa.large_string()), *arrays])
    if len(missing) == 0:
        return whole
    valid = pa.array(numbers(missing, "logical") == 0).buffers()[1]
    return pa.Array.from_buffers(pa.large_string(), len(whole), [valid, *whole.buffers()[1:]])


# --- and back ---------------------------------------------------------------------------------------------------------


def new(kind: str, count: int) -> tuple[Any, Any]:
    """A new vector, and a numpy view of its elements."""
    vector = VECTORS[kind](_allocated(kind, count))
    return vector, numbers(vector, kind)


def _allocated(kind: str, count: int) -> Any:
    from rpy2.rinterface_lib import _rinterface_capi as capi

    return capi.SexpCapsule(rlib.Rf_allocVector(_SEXPTYPE[kind], count))


def one(data: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The data in one piece."""
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
        if isinstance(data, pa.ChunkedArray):
            data = data.chunk(0) if data.num_chunks else pa.array([], data.type)
    while isinstance(data, pa.ExtensionArray):
        data = data.storage
    return data


def from_numbers(values: Any, missing: Any = None) -> Any:
    """A numpy array as an R vector: integers as integer where all fit, else as integer64."""
    kind = values.dtype.kind
    if kind == "b":
        vector, out = new("logical", len(values))
        out[:] = values
        if missing is not None:
            out[missing] = NA_INTEGER
        return vector
    if kind in "iu":
        return _from_integers(values, missing)
    vector, out = new("double", len(values))
    out[:] = values
    if missing is not None:
        out[missing] = _NA_REAL
    return vector


def _from_integers(values: Any, missing: Any) -> Any:
    if missing is not None:
        values = np.where(missing, 0, values)
    small = values.dtype.itemsize < 4 or (values.dtype == np.int32 and not (len(values) and values.min() == NA_INTEGER))
    if not small and len(values):
        small = int(values.max()) < 2**31 and int(values.min()) > NA_INTEGER
    if small or not len(values):
        vector, out = new("integer", len(values))
        out[:] = values
        if missing is not None:
            out[missing] = NA_INTEGER
        return vector
    return integer64(values, missing)


def integer64(values: Any, missing: Any = None) -> Any:
    """Integers as bit64's integer64; without bit64 as numbers, with a warning where that loses digits."""
    import warnings

    if not session.helper("has_bit64")()[0] or (
        values.dtype.kind == "u" and len(values) and int(values.max()) > 2**63 - 1
    ):
        vector, out = new("double", len(values))
        out[:] = values
        if missing is not None:
            out[missing] = _NA_REAL
        if len(values) and (int(values.max()) > 2**53 or int(values.min()) < -(2**53)):
            warnings.warn(
                "Whole numbers beyond 2^53 are not exact as numbers of R. Install the R package bit64 to keep them.",
                stacklevel=2,
            )
        return vector
    vector, out = new("double", len(values))
    whole = out.view(np.int64)
    whole[:] = values
    if missing is not None:
        whole[missing] = np.iinfo(np.int64).min
    return set_attribute(vector, "class", StrSexpVector(["integer64"]))


def missing_of(data: pa.Array) -> Any:
    """Where nulls are, or None."""
    return data.is_null().to_numpy(zero_copy_only=False) if data.null_count else None


def from_strings(data: pa.Array) -> Any:
    """Text as a character vector. R splits it itself, at NULs; few different texts are made once and looked up."""
    if pa.types.is_dictionary(data.type):
        data = data.cast(pa.large_string())
    count = len(data)
    if count <= 64:
        from rpy2.rinterface import NA_Character

        items = data.to_pylist()
        for item in items:
            if item is not None and "\0" in item:
                raise ValueError("text with NUL characters, which R has not")
        return StrSexpVector([NA_Character if item is None else item for item in items])
    sample = data.slice(0, 10_000)
    if pc.count_distinct(sample).as_py() * 4 < len(sample):
        coded = data.dictionary_encode()
        if len(coded.dictionary) * 4 < count:
            levels = _split_strings(coded.dictionary)
            codes, out = new("integer", count)
            indices = coded.indices
            missing = missing_of(indices)
            out[:] = (indices.fill_null(0) if missing is not None else indices).to_numpy() + 1
            if missing is not None:
                out[missing] = NA_INTEGER
            return session.helper("look_up")(levels, codes)
    return _split_strings(data)


def _split_strings(data: pa.Array) -> Any:
    missing = missing_of(data)
    filled = (data.fill_null("") if missing is not None else data).cast(pa.large_string())
    pieces = []
    for start in range(0, len(filled), 1 << 20):
        piece = pa.concat_arrays([filled.slice(start, 1 << 20)])
        _, ends, text = piece.buffers()
        offsets = np.frombuffer(ends, np.int64)[piece.offset :][: len(piece) + 1]
        content = np.frombuffer(text or b"", np.uint8)[offsets[0] : offsets[-1]]
        if (content == 0).any():
            raise ValueError("text with NUL characters, which R has not")
        raw, out = new("raw", len(content) + len(piece))
        ends_at = offsets[1:] - offsets[0] + np.arange(len(piece))
        keep = np.ones(len(out), bool)
        keep[ends_at] = False
        out[ends_at] = 0
        out[keep] = content
        pieces.append((raw, len(piece)))
    from rpy2.rinterface import NULL, ListSexpVector

    na: Any = NULL
    if missing is not None:
        na = from_numbers(missing)
    return session.helper("split_strings")(
        ListSexpVector([raw for raw, _ in pieces]), IntSexpVector([count for _, count in pieces]), na
    )


def from_bytes(data: Any) -> Any:
    """Bytes as a raw vector."""
    raw, out = new("raw", len(data))
    out[:] = np.frombuffer(data, np.uint8)
    return raw


__all__ = ["array", "cdata", "from_numbers", "from_strings", "integer64", "numbers", "one", "to_arrow"]
