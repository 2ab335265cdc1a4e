"""The neutral tree between a language's values and stored bytes.

A language turns its values into trees and back; storing, reading and fingerprinting trees is shared by all languages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import pyarrow as pa

# What stands for itself in a tree: a missing value, the plain scalars, and a list of trees. Everything else is a Node.
Tree = Union[None, bool, int, float, str, bytes, list[Any], "Node"]

# Kinds that are only another spelling of a bare scalar or list, for those that need data or layout.
PLAIN_KINDS = frozenset({"null", "bool", "int", "float", "str", "bytes", "list"})


@dataclass(slots=True)
class Node:
    """A value that is no bare scalar or list.

    - ``kind`` says what it is, and so who can read it.
    - ``value`` is its content as a tree: the elements of a tuple, the text of a decimal number.
    - ``attrs`` are small facts that are part of the value: JSON without floating-point numbers.
    - ``layout`` are facts that are no part of it, only of this way to hold it (Fortran order, the storage of strings).
      They come back on reading and do not count in the fingerprint.
    - ``data`` is typed bulk data, an Arrow array.
    - ``fields`` are named parts: the index of a data frame, the names of an R vector.
    - ``writable`` says, on reading, that nobody else uses the memory of ``data``, so that it may be changed in place.
    """

    kind: str
    value: Tree = None
    attrs: dict[str, Any] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)
    data: pa.Array | pa.ChunkedArray | None = None
    fields: dict[str, Tree] = field(default_factory=dict)
    writable: bool = field(default=False, compare=False)
