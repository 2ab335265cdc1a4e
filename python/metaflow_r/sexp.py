"""R values as rpy2 gives them: attributes, memory and text, without going through R code."""

from __future__ import annotations

import math
from typing import Any

from rpy2.rinterface import (
    NULL,
    BoolSexpVector,
    ByteSexpVector,
    ComplexSexpVector,
    FloatSexpVector,
    IntSexpVector,
    ListSexpVector,
    StrSexpVector,
)
from rpy2.rinterface_lib import conversion, openrlib

rlib, ffi = openrlib.rlib, openrlib.ffi

NA_INTEGER = -(2**31)
NA_BITS = 1954  # lower half of R's NA among the NaNs

TYPES: dict[type, str] = {
    BoolSexpVector: "logical",
    IntSexpVector: "integer",
    FloatSexpVector: "double",
    ComplexSexpVector: "complex",
    StrSexpVector: "character",
    ByteSexpVector: "raw",
}
VECTORS: dict[str, Any] = {name: cls for cls, name in TYPES.items()}
SEXPTYPES = {"logical": 10, "integer": 13, "double": 14, "complex": 15, "character": 16, "raw": 24}


class NotUtf8(Exception):
    """Text that has no form in UTF-8."""


def cdata(value: Any) -> Any:
    return value.__sexp__._cdata


def has_attributes(value: Any) -> bool:
    return bool(rlib.ATTRIB(cdata(value)) != rlib.R_NilValue)


def attributes(value: Any) -> dict[str, Any]:
    """The attributes as they are stored: row names stay compact."""
    found = {}
    cell = rlib.ATTRIB(cdata(value))
    while cell != rlib.R_NilValue:
        name = ffi.string(rlib.R_CHAR(rlib.PRINTNAME(rlib.TAG(cell)))).decode("utf-8", "replace")
        found[name] = conversion._cdata_to_rinterface(rlib.CAR(cell))
        cell = rlib.CDR(cell)
    return found


def set_attribute(value: Any, name: str, attribute: Any) -> Any:
    """Set an attribute in place, of a new value, and return the value. What R would refuse is a ``ValueError``."""
    # An error of R here could not be caught, and would end the process.
    if name == "names" and len(attribute) != len(value):
        raise ValueError("as many names as elements were expected")
    if name == "dim" and math.prod(int(n) for n in attribute) != len(value):
        raise ValueError("dimensions that fit the elements were expected")
    rlib.Rf_setAttrib(cdata(value), rlib.Rf_install(name.encode()), cdata(attribute))
    return value


def classed(value: Any, *classes: str) -> Any:
    """A new value with this class."""
    return set_attribute(value, "class", StrSexpVector(classes))


def named_list(parts: dict[str, Any]) -> Any:
    """An R list with these names."""
    return set_attribute(ListSexpVector(list(parts.values())), "names", StrSexpVector(list(parts)))


def text_at(vector: Any, position: int) -> str | None:
    """One element of a character vector, None for NA. ``NotUtf8`` when it is no text."""
    char = rlib.STRING_ELT(cdata(vector), position)
    if char == rlib.R_NaString:
        return None
    raw: bytes = ffi.string(rlib.R_CHAR(char))
    encoding = rlib.Rf_getCharCE(char)
    if encoding == rlib.CE_LATIN1:
        return raw.decode("latin-1")
    if encoding == rlib.CE_BYTES:
        raise NotUtf8
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUtf8 from None


def texts(vector: Any) -> list[str | None]:
    """All elements of a character vector, None for NA."""
    return [text_at(vector, i) for i in range(len(vector))]


def address(vector: Any) -> int:
    """Where the elements of a vector are; those of a character vector are addresses of texts."""
    return int(ffi.cast("uintptr_t", rlib.DATAPTR(cdata(vector))))


def memory(vector: Any, width: int) -> bytes:
    """A copy of the elements' bytes; ``width`` is the size of one."""
    return bytes(ffi.buffer(rlib.DATAPTR(cdata(vector)), len(vector) * width)) if len(vector) else b""


def is_null(value: Any) -> bool:
    return value is NULL
