"""Digests of Arrow data: the same for equal columns, whatever their chunks, slices, offset widths and unused bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from metaflow_core.values.fingerprint import column_digest

_NAN = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}
_NA = 0x7FF00000000007A2
_RUN = 1 << 23  # bytes looked at and hashed together: enough for several threads, few enough for the caches
_BLOCK = 1 << 18  # bytes changed together
_ROWS = 1 << 16  # rows converted together
_WIDENED = 1 << 20  # integers brought to 64 bits together
_MAX_INT64 = 2**63 - 1


class Residue:
    """Hashes what the digests of the value leave out though it is stored: the payloads of NaNs, bytes under nulls."""

    def __init__(self) -> None:
        self.hasher = blake3()

    def add(self, data: Any) -> None:
        self.hasher.update(_u8(data))

    def add_digest(self, digest: bytes) -> None:
        self.hasher.update(digest)


class Digested:
    """Stands for a column that went by and is digested already."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest


def digest(
    data: pa.Array | pa.ChunkedArray | Digested, residue: Residue | None = None, *, as_list: bool = False
) -> bytes:
    """The digest of a column. ``as_list`` names doubles as a list in Python has them."""
    if isinstance(data, Digested):
        return data.digest
    hasher = column_hasher(data.type, residue or Residue(), as_list=as_list)
    for chunk in chunks(data):
        hasher.update(chunk)
    return hasher.digest()


def chunks(data: pa.Array | pa.ChunkedArray) -> Iterable[pa.Array]:
    """The pieces of a column, with one dictionary for all of them."""
    if not isinstance(data, pa.ChunkedArray):
        return [data]
    if pa.types.is_dictionary(data.type) and data.num_chunks > 1:
        data = data.unify_dictionaries()
    return list(data.chunks)


def to_list(data: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The elements as plain Python values, None for null."""
    if data.null_count == 0 and (pa.types.is_integer(data.type) or pa.types.is_floating(data.type)):
        return data.to_numpy().tolist()  # type: ignore[no-any-return]
    try:
        return list(data.to_pylist())
    except (OverflowError, ValueError):
        if not pa.types.is_temporal(data.type):
            raise
        return _far_times(data)


def _far_times(data: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Dates and times of years that ``datetime`` does not have, as numpy's."""
    kind = "m8" if pa.types.is_duration(data.type) else "M8"
    unit = "D" if pa.types.is_date32(data.type) else getattr(data.type, "unit", "ms")
    ticks = data.cast(pa.int32()).cast(pa.int64()) if unit == "D" else data.cast(pa.int64())
    return [None if tick is None else np.int64(tick).view(f"{kind}[{unit}]") for tick in ticks.to_pylist()]


def digest_by_rows(data: pa.Array, shape: list[int], residue: Residue | None) -> bytes:
    """The digest of an array that is held column by column: that of the same array held row by row."""
    hasher = column_hasher(data.type, residue or Residue())
    width = hasher.width if isinstance(hasher, (_Fixed, _Integers)) and not data.null_count else 0
    if width:
        raw = np.frombuffer(data.buffers()[1], np.uint8)[data.offset * width :][: len(data) * width]
        rows = raw.view(f"V{width}").reshape(shape, order="F")
    else:
        rows = np.arange(len(data), dtype=np.int64).reshape(shape, order="F")
    step = max(1, _ROWS // max(1, len(data) // max(1, shape[0])))
    for start in range(0, shape[0], step):
        block = np.ascontiguousarray(rows[start : start + step]).reshape(-1)
        if width:
            buffers = [None, pa.py_buffer(block.view(np.uint8))]
            hasher.update(pa.Array.from_buffers(data.type, len(block), buffers))
        else:
            hasher.update(data.take(pa.array(block)))
    return hasher.digest()


def one_bytes(data: pa.Array | pa.ChunkedArray) -> memoryview:
    """The only element of a column of bytes, without a copy."""
    (chunk,) = chunks(data)
    return memoryview(chunk[0].as_buffer())


class ColumnHasher:
    """Digests a column piece by piece: its name, its length, which elements are null, and its parts."""

    name = b""

    def __init__(self, residue: Residue) -> None:
        self.residue = residue
        self.length = 0
        self.nulls = 0
        self.validity = blake3()

    def update(self, array: pa.Array) -> None:
        self._update_validity(array)
        if len(array):
            self.add(array)

    def _update_validity(self, array: pa.Array) -> None:
        """One byte per element, as soon as any is null."""
        if array.null_count and not self.nulls:
            _update_constant(self.validity, 1, self.length)
        self.nulls += array.null_count
        self.length += len(array)
        if self.nulls:
            self.validity.update(_u8(valid_bytes(array)))

    def add(self, array: pa.Array) -> None:
        raise NotImplementedError

    def parts(self) -> bytes:
        raise NotImplementedError

    def digest(self) -> bytes:
        validity = b"\1" + self.validity.digest() if self.nulls else b"\0"
        return column_digest(self.name, self.length, validity, self.parts())


def _u8(data: Any) -> memoryview:
    """The bytes of an array, as the hasher takes them."""
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8).data


def valid_bytes(array: pa.Array) -> np.ndarray[Any, Any]:
    """1 for each element that is there, 0 for each null."""
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False)).view(np.uint8)


def _update_constant(hasher: blake3, value: int, count: int) -> None:
    block = bytes([value]) * min(count, _BLOCK)
    while count > 0:
        hasher.update(block[:count])
        count -= len(block)


class _Nulls(ColumnHasher):
    name = b"null"

    def add(self, array: pa.Array) -> None:
        pass

    def parts(self) -> bytes:
        return b""


class _Fixed(ColumnHasher):
    """Elements of one width."""

    def __init__(self, residue: Residue, name: bytes, width: int, floating: bool) -> None:
        super().__init__(residue)
        self.name, self.width, self.floating = name, width, floating
        self.data = blake3(max_threads=blake3.AUTO)

    def add(self, array: pa.Array) -> None:
        buffer = array.buffers()[1]
        raw = np.frombuffer(buffer, np.uint8)[array.offset * self.width : (array.offset + len(array)) * self.width]
        if array.null_count:
            self._add_with_nulls(array, raw)
        elif self.floating:
            self._add_floats(raw)
        else:
            self.data.update(_u8(raw))

    def _add_with_nulls(self, array: pa.Array, raw: np.ndarray[Any, Any]) -> None:
        rows = raw.reshape(len(array), self.width)
        for start in range(0, len(array), _ROWS):
            block = rows[start : start + _ROWS]
            self.residue.add(block)
            block = block * valid_bytes(array.slice(start, _ROWS))[:, None]
            if self.floating:
                block = _one_nan(block.reshape(-1).view(f"u{self.width}"), self.width).view(np.uint8)
            self.data.update(_u8(block))

    def _add_floats(self, raw: np.ndarray[Any, Any]) -> None:
        for start in range(0, len(raw), _RUN):
            run = raw[start : start + _RUN]
            if np.isnan(np.min(run.view(f"f{self.width}"))):
                self.residue.add(run)
                for first in range(0, len(run), _BLOCK):
                    bits = run[first : first + _BLOCK].view(f"u{self.width}")
                    self.data.update(_u8(_one_nan(bits, self.width)))
            else:
                self.data.update(_u8(run))

    def parts(self) -> bytes:
        return self.data.digest()


def _one_nan(bits: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """The same bits for every NaN, R's NA apart."""
    bits = bits.copy()
    nan = np.isnan(bits.view(f"f{width}"))
    if width == 8:
        missing = nan & ((bits & np.uint64(0xFFFFFFFF)) == 1954)
        bits[nan] = _NAN[8]
        bits[missing] = _NA
    else:
        bits[nan] = _NAN[width]
    return bits


class _Integers(ColumnHasher):
    """Integers, all in 64 bits: R has 32, pandas 64, and they are the same numbers."""

    name = b"int"

    def __init__(self, residue: Residue, type: pa.DataType) -> None:
        super().__init__(residue)
        self.dtype: np.dtype[Any] = np.dtype(type.to_pandas_dtype())
        self.width = self.dtype.itemsize
        self.data = blake3(max_threads=blake3.AUTO)

    def add(self, array: pa.Array) -> None:
        width = self.width
        raw = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
        values = raw.view(self.dtype)
        if self.dtype == np.uint64 and int(pc.max(array).as_py() or 0) > _MAX_INT64:
            self.name = b"uint64"
        if array.null_count:
            for start in range(0, len(array), _ROWS):
                block = values[start : start + _ROWS]
                self.residue.add(block)
                self.data.update(_u8(block.astype(np.int64) * valid_bytes(array.slice(start, _ROWS))))
        elif width == 8:
            self.data.update(_u8(values))
        else:
            for start in range(0, len(array), _WIDENED):
                self.data.update(_u8(values[start : start + _WIDENED].astype(np.int64)))

    def parts(self) -> bytes:
        return self.data.digest()


class _Bools(ColumnHasher):
    name = b"bool"

    def __init__(self, residue: Residue) -> None:
        super().__init__(residue)
        self.data = blake3()

    def add(self, array: pa.Array) -> None:
        for start in range(0, len(array), _ROWS):
            block = array.slice(start, _ROWS)
            if block.null_count:
                raw = pa.Array.from_buffers(pa.bool_(), len(block), [None, block.buffers()[1]], 0, block.offset)
                self.residue.add(raw.to_numpy(zero_copy_only=False))
                block = block.fill_null(False)
            self.data.update(_u8(block.to_numpy(zero_copy_only=False)))

    def parts(self) -> bytes:
        return self.data.digest()


class _Variable(ColumnHasher):
    """Text and bytes: their lengths, and all of them one after the other."""

    def __init__(self, residue: Residue, name: bytes) -> None:
        super().__init__(residue)
        self.name = name
        self.lengths = blake3()
        self.data = blake3(max_threads=blake3.AUTO)

    def add(self, array: pa.Array) -> None:
        _, offsets_buffer, data_buffer = array.buffers()
        wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
        offsets = np.frombuffer(offsets_buffer, np.int64 if wide else np.int32)[array.offset :][: len(array) + 1]
        data = np.frombuffer(data_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
        total = 0
        for start in range(0, len(array), _ROWS):
            lengths = np.diff(offsets[start : start + _ROWS + 1]).astype(np.int64)
            if array.null_count:
                lengths *= valid_bytes(array.slice(start, _ROWS))
            total += int(lengths.sum())
            self.lengths.update(_u8(lengths))
        if total == len(data):
            self.data.update(_u8(data))
        else:  # there are bytes under nulls
            self.residue.add(data)
            for start in range(0, len(array), _ROWS):
                kept = pa.concat_arrays([array.slice(start, _ROWS).drop_null()])
                if len(kept):
                    first, last = kept.cast(pa.large_binary()).buffers()[1:]
                    ends = np.frombuffer(first, np.int64)[: len(kept) + 1]
                    self.data.update(_u8(np.frombuffer(last or b"", np.uint8)[ends[0] : ends[-1]]))

    def parts(self) -> bytes:
        return self.lengths.digest() + self.data.digest()


class _Lists(ColumnHasher):
    """Lists of any kind: their lengths, and the column of all elements."""

    name = b"list"

    def __init__(self, residue: Residue, element: ColumnHasher) -> None:
        super().__init__(residue)
        self.lengths = blake3()
        self.element = element

    def add(self, array: pa.Array) -> None:
        lengths = array.value_lengths().fill_null(0).cast(pa.int64())
        self.lengths.update(_u8(lengths.to_numpy()))
        self.element.update(array.flatten())

    def parts(self) -> bytes:
        return self.lengths.digest() + self.element.digest()


class _Maps(_Lists):
    """Maps: lists of pairs."""

    name = b"map"

    def add(self, array: pa.Array) -> None:
        super().add(array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field]))))


class _Structs(ColumnHasher):
    def __init__(self, residue: Residue, names: list[str], fields: list[ColumnHasher]) -> None:
        super().__init__(residue)
        self.name = b"struct" + b"".join(b"\0" + name.encode() for name in names)
        self.fields = fields

    def add(self, array: pa.Array) -> None:
        for hasher, part in zip(self.fields, array.flatten(), strict=True):
            hasher.update(part)

    def parts(self) -> bytes:
        return b"".join(field.digest() for field in self.fields)


class _Dictionaries(ColumnHasher):
    """Dictionary-encoded data: the codes and the dictionary, whose order counts. Pieces share one dictionary."""

    name = b"dictionary"

    def __init__(self, residue: Residue, values: pa.DataType) -> None:
        super().__init__(residue)
        self.codes = column_hasher(pa.int64(), residue)
        self.values_type = values
        self.values: bytes | None = None

    def add(self, array: pa.Array) -> None:
        if self.values is None:
            self.values = digest(array.dictionary, self.residue)
        self.residue.add(np.frombuffer(str(array.indices.type).encode(), np.uint8))
        for start in range(0, len(array), _ROWS):
            self.codes.update(array.indices.slice(start, _ROWS).cast(pa.int64()))

    def parts(self) -> bytes:
        values = digest(pa.array([], self.values_type)) if self.values is None else self.values
        return values + self.codes.digest()


class _Converted(ColumnHasher):
    """Data whose layout is only another spelling of a simpler type."""

    def __init__(self, inner: ColumnHasher, to: pa.DataType | None) -> None:
        super().__init__(inner.residue)
        self.inner, self.to = inner, to

    def update(self, array: pa.Array) -> None:
        for start in range(0, len(array), _ROWS):
            block = array.slice(start, _ROWS)
            if isinstance(block, pa.ExtensionArray):
                self.inner.update(block.storage)
            elif isinstance(block, pa.RunEndEncodedArray):
                self.inner.update(pc.run_end_decode(block))
            else:
                self.inner.update(block.cast(self.to))

    def digest(self) -> bytes:
        return self.inner.digest()


class _Serialized(ColumnHasher):
    """The few types that have no rule of their own, such as unions: the elements as Arrow writes them."""

    def __init__(self, residue: Residue, type: pa.DataType) -> None:
        super().__init__(residue)
        self.name = str(type).encode()
        self.data = blake3()

    def _update_validity(self, array: pa.Array) -> None:
        self.length += len(array)

    def add(self, array: pa.Array) -> None:
        for value in array:
            self.data.update(repr(value.as_py()).encode("utf-8", "surrogatepass") + b"\0")

    def parts(self) -> bytes:
        return self.data.digest()


def column_hasher(type: pa.DataType, residue: Residue, *, as_list: bool = False) -> ColumnHasher:
    """What digests columns of ``type``."""
    t = pa.types
    if t.is_null(type):
        return _Nulls(residue)
    if t.is_boolean(type):
        return _Bools(residue)
    if t.is_string(type) or t.is_large_string(type):
        return _Variable(residue, b"str")
    if t.is_binary(type) or t.is_large_binary(type):
        return _Variable(residue, b"bytes")
    if t.is_string_view(type):
        return _Converted(column_hasher(pa.large_string(), residue), pa.large_string())
    if t.is_binary_view(type):
        return _Converted(column_hasher(pa.large_binary(), residue), pa.large_binary())
    if t.is_dictionary(type):
        return _Dictionaries(residue, type.value_type)
    if t.is_map(type):
        pair = pa.struct([type.key_field, type.item_field])
        return _Maps(residue, column_hasher(pair, residue))
    if t.is_list(type) or t.is_large_list(type) or t.is_fixed_size_list(type):
        return _Lists(residue, column_hasher(type.value_type, residue))
    if t.is_list_view(type) or t.is_large_list_view(type):
        plain = pa.large_list(type.value_field)
        return _Converted(column_hasher(plain, residue), plain)
    if t.is_struct(type):
        fields = [type.field(i) for i in range(type.num_fields)]
        return _Structs(residue, [f.name for f in fields], [column_hasher(f.type, residue) for f in fields])
    if t.is_run_end_encoded(type):
        return _Converted(column_hasher(type.value_type, residue), None)
    if isinstance(type, pa.BaseExtensionType):
        return _Converted(column_hasher(type.storage_type, residue), None)
    if t.is_integer(type):
        return _Integers(residue, type)
    try:
        width = type.bit_width // 8
    except ValueError:
        return _Serialized(residue, type)
    name = _NAMES.get(str(type), str(type))
    if as_list and name == "float64":
        name = "float"
    return _Fixed(residue, name.encode(), width, t.is_floating(type))


_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}
