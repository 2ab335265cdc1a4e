"""Values to what the store keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from blake3 import blake3

from metaflow_core.errors import UnserializableValue
from metaflow_core.values import registry
from metaflow_core.values.encoded import Encoded
from metaflow_core.values.fingerprint import fingerprint
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import Unstorable
from metaflow_core.values.structure import small_text
from metaflow_core.values.typename import type_name

if TYPE_CHECKING:
    from metaflow_core.values.arrow_file import Prepared

_MAX_SCALAR_TEXT = 4096  # bytes of UTF-8
_INT64 = range(-(2**63), 2**63)


def encode(value: Any, *, language: str = "python") -> Encoded:
    """Make ``value`` ready to be stored. Nothing large is copied: change the value only after it was written.

    A ``pyarrow.RecordBatchReader`` is read to its end, batch by batch, into a temporary file; it reads back as a table.

    Raises ``UnserializableValue``, whose ``path`` leads to the part that can't be stored.

    >>> encode(3).encoding
    'int'
    """
    if language == "python":
        from metaflow_core.values.python_tree import to_tree

        write: Callable[[Any], Tree] = to_tree
        name = _python_type(value)
    else:
        codec = registry.need_language(language)

        def write(value: Any) -> Tree:
            return codec.to_tree(value, write)

        name = ""
    if name == "pyarrow.RecordBatchReader":
        from metaflow_core.values import stream

        return _prepared(stream.prepare(value, name, language), name, language)
    try:
        tree = write(value)
    except Unstorable as error:
        raise UnserializableValue(
            f"{'The value' if not error.path else 'Its element ' + error.path}, of type {error.type_name}, "
            f"can't be stored: {error.why}. Leave it out, or make it anew in the step that needs it.",
            path=error.path,
        ) from error
    return encode_tree(tree, name or _kind_type(tree), language)


def encode_tree(tree: Tree, type: str, language: str) -> Encoded:
    """Make a value that is a tree already ready to be stored; ``type`` is what its language calls its type."""
    scalar = _scalar(tree)
    if scalar is not None:
        encoding, content = scalar
        mark = fingerprint(tree)
        return Encoded(type, language, encoding, mark, _key(type, language, encoding, [mark.encode()]), 0, content)
    text = small_text(tree)
    if text is not None:
        return _whole(tree, type, language, "json", text)
    if isinstance(tree, Node) and tree.kind == "opaque" and isinstance(tree.value, bytes):
        from metaflow_core.values import opaque_file

        return _whole(tree, type, language, "opaque", opaque_file.dumps(tree))
    from metaflow_core.values import arrow_file

    return _prepared(arrow_file.prepare(tree, type, language), type, language)


def _prepared(prepared: Prepared, type: str, language: str) -> Encoded:
    key = _key(type, language, "arrow", prepared.identity)
    return Encoded(type, language, "arrow", prepared.fingerprint, key, prepared.size, None, prepared.write)


def _scalar(tree: Tree) -> tuple[str, bool | int | float | str | None] | None:
    """Encoding and content of what fits a typed column: Python's scalars, and numpy's, whose type is stored beside."""
    if isinstance(tree, Node):
        return _scalar(tree.value) if tree.kind == "numpy.scalar" and tree.value is not None else None
    if tree is None:
        return "null", None
    if isinstance(tree, bool):
        return "bool", tree
    if isinstance(tree, float):
        return "float", tree
    if isinstance(tree, int) and tree in _INT64:
        return "int", tree
    if isinstance(tree, str) and len(tree) <= _MAX_SCALAR_TEXT and _is_column_text(tree):
        return "str", tree
    return None


def _is_column_text(text: str) -> bool:
    """Whether every database can hold ``text`` in a column: PostgreSQL refuses NUL, and all refuse lone surrogates."""
    try:
        return "\0" not in text and len(text.encode()) <= _MAX_SCALAR_TEXT
    except UnicodeEncodeError:
        return False


def _whole(tree: Tree, type: str, language: str, encoding: str, payload: bytes) -> Encoded:
    def write(file: IO[bytes]) -> None:
        file.write(payload)

    key = _key(type, language, encoding, [payload])
    return Encoded(type, language, encoding, fingerprint(tree), key, len(payload), None, write)


def _key(type: str, language: str, encoding: str, content: list[bytes]) -> str:
    """Names the stored bytes. Type and language are part of it: both are stored beside them."""
    hasher = blake3(f"{type}\0{language}\0{encoding}\0".encode())
    for part in content:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def _python_type(value: Any) -> str:
    from metaflow_core.values.opaque import OpaqueValue

    return value.type if isinstance(value, OpaqueValue) else type_name(value.__class__)


def _kind_type(tree: Tree) -> str:
    """A type's name when the language gave none: the node's own, or that of the bare scalar."""
    if isinstance(tree, Node):
        return str(tree.layout.get("type") or tree.attrs.get("type") or tree.kind)
    return "null" if tree is None else type_name(tree.__class__)
