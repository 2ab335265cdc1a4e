"""Sparse matrices of the R package Matrix, as scipy has them."""

from __future__ import annotations

from typing import Any

from metaflow_core.errors import UnreadableArtifact
from metaflow_core.values.node import Node

from metaflow_r import session
from metaflow_r.read import from_tree
from metaflow_r.sexp import NULL, IntSexpVector, StrSexpVector, named_list
from metaflow_r.write import write


def to_node(value: Any) -> Node | None:
    """A numeric sparse matrix without dimnames, in columns, rows or triplets; None for anything else."""
    parts = session.helper("sparse_parts")(value)
    if parts is NULL:
        return None
    format, dim, data, first, second = parts
    name = str(format[0])
    fields = {"data": _one_dimension(data)}
    if name == "coo":
        fields["coords"] = Node("list", value=[_one_dimension(first), _one_dimension(second)])
    else:
        fields["indices"], fields["indptr"] = _one_dimension(first), _one_dimension(second)
    shape = [int(n) for n in dim]
    return Node("sparse", attrs={"format": name, "shape": shape}, layout={"type": "Matrix"}, fields=dict(fields))


def _one_dimension(vector: Any) -> Node:
    """A vector as numpy's array of one dimension."""
    from metaflow_r.sexp import TYPES
    from metaflow_r.vectors import to_arrow

    kind = TYPES[type(vector)]
    dtype = {"integer": "int32", "double": "float64"}[kind]
    return Node("ndarray", attrs={"dtype": dtype, "shape": [len(vector)]}, data=to_arrow(vector, kind))


def from_node(node: Node) -> Any:
    """The matrix in R; ``UnreadableArtifact`` when the package Matrix is not installed, or has no such form."""
    format = str(node.attrs["format"])
    if format not in ("csc", "csr", "coo"):
        raise UnreadableArtifact(f"R has no sparse matrix in the form {format!r}. Convert it with .tocsc() in Python.")
    parts = {"data": from_tree(node.fields["data"])}
    if format == "coo":
        coords: Any = node.fields["coords"]
        items: Any = coords.value if isinstance(coords, Node) else coords
        parts["i"], parts["j"] = from_tree(items[0]), from_tree(items[1])
    else:
        parts["i"], parts["p"] = from_tree(node.fields["indices"]), from_tree(node.fields["indptr"])
    made = session.helper("make_sparse")(
        StrSexpVector([format]), IntSexpVector([int(n) for n in node.attrs["shape"]]), named_list(parts)
    )
    if made is NULL:
        raise UnreadableArtifact("The artifact is a sparse matrix. Install the R package Matrix to read it.")
    return made


__all__ = ["from_node", "to_node", "write"]
