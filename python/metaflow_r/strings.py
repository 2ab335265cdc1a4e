"""R's character vectors as Arrow arrays and back, a vector at a time.

R keeps each text once, and in a vector pointers to them. On the way out numpy follows the pointers, some thousands at
a time so that what it looks at stays in the cache; that makes an Arrow array of views, which Arrow copies into one of
texts one after the other. On the way in, texts that repeat are made once and their pointers copied; all others are
handed to R as what its ``unserialize`` reads, the quickest way it has to make many.
"""

from __future__ import annotations

import struct
import sys
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from metaflow_core.values import buffers
from rpy2.rinterface import NA_Character, StrSexpVector

from metaflow_r import session
from metaflow_r.bitmaps import missing_of, validity
from metaflow_r.memory import at, new, numbers
from metaflow_r.sexp import NotUtf8, ffi, rlib, texts

CHUNK = 1 << 14
PIECE = 1 << 20  # texts that R reads at once, which bounds the memory that takes
SAMPLE = 10_000  # texts that tell whether many are the same
SMALL = 64  # as many texts are quicker made one by one

# Where R keeps what of a text: checked against R itself before it is relied on, see `_is_as_expected`.
_FLAGS, _LENGTH, _TEXT = 0, 32, 48
_BYTES, _LATIN1 = 1 << 9, 1 << 10

# An Arrow view: its length, then the text itself when it has up to 12 bytes, else its start, buffer and place in it.
_VIEW = np.dtype({"names": ["length", "first", "second"], "formats": ["u4", "u8", "u4"], "offsets": [0, 4, 12]})
_WINDOW = 31  # bits: a place in a buffer has as many


def to_arrow(vector: Any) -> pa.Array:
    """The texts, null for NA. ``NotUtf8`` when some are no text."""
    if not _is_as_expected():
        return pa.array(texts(vector), pa.large_string())
    pointers = numbers(vector, "character")
    views, blocks, present = _views(pointers)
    seen = pa.Array.from_buffers(pa.string_view(), len(pointers), [present, pa.py_buffer(views), *blocks])
    data = seen.cast(pa.large_string())
    content = data.buffers()[2]
    if content is None or not content.size or np.frombuffer(content, np.uint8).max() < 128:
        return data
    marks = _marks(pointers)
    if marks & _BYTES:
        raise NotUtf8
    if marks & _LATIN1:
        return to_arrow(session.helper("latin1_to_utf8")(vector))
    try:
        data.validate(full=True)
    except pa.ArrowInvalid:
        raise NotUtf8 from None
    return data


@cache
def _is_as_expected() -> bool:
    """Whether this R keeps texts as the constants above say."""
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        return False
    for content, encoding, marks in (
        (b"a", rlib.CE_UTF8, 0),
        (b"a" * 300, rlib.CE_NATIVE, 0),
        (b"\xc3\xa9", rlib.CE_UTF8, 0),
        (b"\xe9", rlib.CE_LATIN1, _LATIN1),
        (b"\xe9", rlib.CE_BYTES, _BYTES),
    ):
        text = rlib.Rf_mkCharLenCE(content, len(content), encoding)
        start = int(ffi.cast("uintptr_t", text))
        flags, length = (int(at(start + place, 1, np.int64)[0]) for place in (_FLAGS, _LENGTH))
        if int(ffi.cast("uintptr_t", rlib.R_CHAR(text))) != start + _TEXT or length != len(content):
            return False
        if flags & (_BYTES | _LATIN1) != marks:
            return False
    return True


def _views(pointers: Any) -> tuple[Any, list[Any], Any]:
    """Arrow's views of the texts that pointers lead to, the memory that long ones are in, and which are not NA."""
    views = np.empty(len(pointers), _VIEW)
    lengths, first, second = (at(place, 1 << 44, np.int64) for place in (_LENGTH, _TEXT, _TEXT + 8))
    na = _na()
    windows: dict[int, int] = {}
    any_na = False
    for start in range(0, len(pointers), CHUNK):
        part, out = pointers[start : start + CHUNK], views[start : start + CHUNK]
        places = part >> 3  # from an address to the number of the 8 bytes there
        length = lengths[places]
        out["length"] = length
        out["first"] = first[places]
        places -= length < 8  # what lies behind a short text is not R's
        out["second"] = second[places]
        if length.max() > 12:
            _refer(out, np.flatnonzero(length > 12), part, windows)
        any_na = any_na or bool((part == na).any())
    blocks = [pa.foreign_buffer(window << _WINDOW, 2 << _WINDOW) for window in windows]
    return views, blocks, validity(pointers != na) if any_na else None


def _refer(views: Any, long: Any, pointers: Any, windows: dict[int, int]) -> None:
    """Have views of long texts say where these are."""
    where = pointers[long] + _TEXT
    window = where >> _WINDOW
    lowest = int(window.min())
    if lowest == window.max():
        number: Any = windows.setdefault(lowest, len(windows))
    else:
        found, place = np.unique(window, return_inverse=True)
        number = np.array([windows.setdefault(int(one), len(windows)) for one in found])[place]
    words = views.view(np.uint32).reshape(-1, 4)
    words[long, 2] = number
    words[long, 3] = where & ((1 << _WINDOW) - 1)


def _marks(pointers: Any) -> int:
    """The marks that some of the texts have."""
    flags = at(_FLAGS + 8, 1 << 44, np.int64)  # memory from 0 on is no array to numpy
    found = 0
    for start in range(0, len(pointers), CHUNK):
        found |= int(np.bitwise_or.reduce(flags[(pointers[start : start + CHUNK] >> 3) - 1]))
    return found


# --- and back ---------------------------------------------------------------------------------------------------------


def from_arrow(data: pa.Array) -> Any:
    """Texts, or a dictionary of them, as a character vector; null is NA. ``ValueError`` when R can't have them."""
    if pa.types.is_string_view(data.type):
        data = data.cast(pa.large_string())
    if not pa.types.is_dictionary(data.type):
        if len(data) <= SAMPLE:
            return _each(data)
        sample = data.take(pa.array(np.arange(0, len(data), len(data) // SAMPLE)))
        if pc.count_distinct(sample).as_py() * 4 > len(sample):
            return _each(data)
        data = data.dictionary_encode()
    return _looked_up(_each(data.dictionary), data.indices)


def _each(data: pa.Array) -> Any:
    """A vector for which R makes each text."""
    if len(data) <= SMALL:
        items = data.to_pylist()
        for item in items:
            if item is not None and "\0" in item:
                raise _has_nul()
        return StrSexpVector([NA_Character if item is None else item for item in items])
    pieces = [_made(data.slice(start, PIECE)) for start in range(0, len(data), PIECE)]
    if len(pieces) == 1:
        return pieces[0]
    vector, pointers = new("character", len(data))  # after its texts: see `_looked_up`
    for start, piece in zip(range(0, len(data), PIECE), pieces, strict=True):
        pointers[start : start + PIECE] = numbers(piece, "character")
    return vector


def _has_nul() -> ValueError:
    return ValueError("text with NUL characters, which R has not")


def _na() -> int:
    return int(ffi.cast("uintptr_t", rlib.R_NaString))


def _looked_up(levels: Any, indices: pa.Array) -> Any:
    """The levels at these places, counted from 0; null is NA.

    Pointers go into R's memory as they are. R's collector would have to be told of a pointer to something younger than
    what holds it, but these texts are older than the new vector.
    """
    places = buffers.view(indices, np.dtype(indices.type.to_pandas_dtype()), writable=False)
    known = np.append(numbers(levels, "character"), _na())
    vector, pointers = new("character", len(indices))
    known.take(places.view(np.int64) if places.dtype == np.uint64 else places, out=pointers, mode="clip")
    missing = missing_of(indices)
    if missing is not None:
        pointers[missing] = _na()
    return vector


def _made(data: pa.Array) -> Any:
    """A vector of new texts, by way of what ``serialize`` would have made of it: each text behind 8 bytes that say how
    long it is, with -1 for NA, and that it is UTF-8."""
    count, kind = len(data), pa.large_binary()
    missing = missing_of(data)
    whole = (data if missing is None else data.fill_null("")).cast(pa.large_string()).cast(kind)
    offsets = np.frombuffer(whole.buffers()[1], np.int64)[whole.offset :][: count + 1]
    content = np.frombuffer(whole.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    if len(content) and content.min() == 0:
        raise _has_nul()
    heads = np.empty((count, 2), np.int32)
    heads[:, 0] = _UTF8_TEXT
    heads[:, 1] = np.diff(offsets)
    if missing is not None:
        heads[missing, 1] = -1
    steps = pa.py_buffer(np.arange(0, 8 * count + 8, 8))
    headed = pc.binary_join_element_wise(
        pa.Array.from_buffers(kind, count, [None, steps, pa.py_buffer(heads)]), whole, pa.scalar(b"", kind)
    )
    body = headed.buffers()[2].slice(0, 8 * count + len(content))
    raw, out = new("raw", len(_START) + 4 + body.size)
    out[: len(_START) + 4] = np.frombuffer(_START + struct.pack("=i", count), np.uint8)
    out[len(_START) + 4 :] = np.frombuffer(body, np.uint8)
    return session.helper("unserialize_value")(raw)


# Of R's serialization, in the order of this machine's bytes: format 2, written and read by R 2.3.0, a character vector.
_START = b"B\n" + struct.pack("=4i", 2, 0x020300, 0x020300, 16)
_UTF8_TEXT = 9 | 1 << 15
