"""What the store keeps, back to values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowException, UnreadableArtifact
from metaflow_core.values import registry
from metaflow_core.values.encoded import Stored
from metaflow_core.values.node import Node, Tree

if TYPE_CHECKING:
    import pyarrow as pa

_SCALARS = frozenset({"null", "bool", "int", "float", "str"})


def decode(stored: Stored, *, language: str = "python", columns: Sequence[str] | None = None) -> Any:
    """The value that was stored, in ``language``; of a table only ``columns``, when they are given.

    A value whose form is typed is read without executing anything; an opaque one may execute code unless the
    setting ``METAFLOW_OPAQUE_ARTIFACTS`` is ``refuse``, or ``own`` and :mod:`~metaflow_core.values.trust` says that
    somebody else wrote it. Raises ``UnreadableArtifact`` when the stored data
    is damaged, refused, of a newer format, or needs what is not installed.
    """
    tree = tree_of(stored, columns)
    if language == "python":
        from metaflow_core.values.python_value import from_foreign_tree, from_tree

        read = from_tree if stored.language == "python" else from_foreign_tree
    else:
        codec = registry.codec_of_language(language)
        if codec is None:
            raise UnreadableArtifact(f"Nothing that is installed here reads artifacts into the language {language!r}.")

        def read(tree: Tree) -> Any:
            return codec.from_tree(tree, read)

    try:
        return read(tree)
    except MetaflowException:
        raise
    except ImportError as error:
        raise UnreadableArtifact(
            f"The artifact is a {stored.type}, and reading it needs the Python package {error.name!r}. Install it."
        ) from error
    except Exception as error:
        raise _damaged(error) from error


def tree_of(stored: Stored, columns: Sequence[str] | None = None) -> Tree:
    """The neutral tree of what was stored. Executes nothing."""
    try:
        if columns is None:
            return _tree(stored)
        from metaflow_core.values.some_columns import with_columns

        return with_columns(stored, columns, lambda: _tree(stored))
    except MetaflowException:
        raise
    except ImportError as error:
        raise UnreadableArtifact(
            f"Reading the artifact needs the Python package {error.name!r}. Install it."
        ) from error
    except Exception as error:
        raise _damaged(error) from error


def _tree(stored: Stored) -> Tree:
    encoding = stored.encoding
    if encoding in _SCALARS:
        library, _, dtype = stored.type.rpartition(".")
        if library == "numpy":
            return Node("numpy.scalar", value=stored.scalar, attrs={"dtype": dtype})
        return stored.scalar
    if encoding not in ("json", "arrow", "opaque"):
        raise UnreadableArtifact(
            f"The artifact is stored in the encoding {encoding!r}, which is not known here. Upgrade metaflow-tandem."
        )
    if stored.read is None:
        raise UnreadableArtifact("The artifact's stored data is missing.")
    payload = stored.read()
    if len(payload) != stored.size:
        raise UnreadableArtifact(
            f"The artifact's stored data is damaged: it has {len(payload):,} bytes where {stored.size:,} were written."
        )
    if encoding == "json":
        from metaflow_core.values.structure import from_json, loads

        return from_json(loads(payload))
    if encoding == "opaque":
        from metaflow_core.values import opaque_file

        return opaque_file.loads(payload)
    from metaflow_core.values import arrow_file

    return arrow_file.read(payload)


def to_arrow(stored: Stored) -> pa.Array | pa.ChunkedArray | pa.Table | pa.Scalar:
    """The artifact as Arrow data, whichever language wrote it, without executing anything.

    A scalar is a ``pyarrow.Scalar``, an array or a vector an ``Array``, a data frame a ``Table``. Anything else is the
    ``Table`` of its file, or for a small value a scalar with its JSON text. Opaque values are their bytes.
    """
    from metaflow_core.values import as_arrow

    return as_arrow.to_arrow(stored, tree_of(stored))


def _damaged(error: Exception) -> UnreadableArtifact:
    return UnreadableArtifact(
        f"The artifact's stored data is damaged or was written by something else ({type(error).__name__}). "
        f"Restore the file from a backup, or run the step again."
    )
