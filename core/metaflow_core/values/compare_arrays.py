"""How two Arrow arrays differ, place by place, in pieces: the memory needed does not grow with their length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_PIECE = 1 << 16
Array = Any  # pa.Array | pa.ChunkedArray


@dataclass(slots=True)
class Counted:
    """``changed`` of ``compared`` elements differ. Mean and maximum are of new - old, of numbers."""

    compared: int
    changed: int
    mean_difference: float | None = None
    max_difference: float | None = None

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"compared": self.compared, "changed": self.changed}
        if self.mean_difference is not None:
            found |= {"mean_difference": self.mean_difference, "max_difference": self.max_difference}
        return found


def type_name(type: pa.DataType) -> str:
    """What people call an Arrow type."""
    name = str(type).removeprefix("large_")
    return {"double": "float64", "float": "float32"}.get(name, name)


def compare(old: Array, new: Array, numbers: bool = True) -> Counted:
    """Compare what both have, from the start. Missing equals missing, and NaN equals NaN.

    ``numbers`` is false for numbers that stand for something else.
    """
    length = min(len(old), len(new))
    numbers = numbers and _is_number(old.type) and _is_number(new.type)
    changed, total, count, largest = 0, 0.0, 0, 0.0
    for start in range(0, length, _PIECE):
        before, after = (_plain(array.slice(start, min(_PIECE, length - start))) for array in (old, new))
        changed += pc.sum(_differs(before, after)).as_py() or 0
        if numbers:
            step = pc.subtract(_floats(after), _floats(before))
            step = step.filter(pc.is_finite(step))
            total += pc.sum(step).as_py() or 0.0
            count += len(step) - step.null_count
            largest = max(largest, pc.max(pc.abs(step)).as_py() or 0.0)
    if not numbers or not count:
        return Counted(length, changed)
    return Counted(length, changed, total / count, largest)


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type))


def _floats(array: pa.Array) -> pa.Array:
    return array.cast(pa.float64(), safe=False)


def _plain(array: Array) -> pa.Array:
    """One array, of a type that can be compared."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(_unified(array))
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _unified(array: pa.ChunkedArray) -> list[pa.Array]:
    if not array.num_chunks:
        return [pa.array([], array.type)]
    return [chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk for chunk in array.chunks]


def _differs(before: pa.Array, after: pa.Array) -> pa.Array:
    """One boolean per place."""
    try:
        unequal = pc.not_equal(before, after)
        if pa.types.is_floating(before.type) and pa.types.is_floating(after.type):
            unequal = pc.and_not(unequal, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):  # nested, or of two sorts
        return pa.array([a != b for a, b in zip(before.to_pylist(), after.to_pylist(), strict=True)], pa.bool_())
    # It is null where one of the two is missing.
    return pc.if_else(unequal.is_null(), pc.xor(before.is_null(), after.is_null()), unequal)
