"""Polars frames and series."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from metaflow_core.values.node import Node
from metaflow_core.values.python_arrow import read_table, table_node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Node:
    if type(value) is pl.DataFrame:
        return _frame("polars.frame", value)
    if type(value) is pl.Series:
        return _frame("polars.series", value.to_frame())
    raise NotTyped


def _frame(kind: str, frame: pl.DataFrame) -> Node:
    try:
        table = frame.to_arrow()
        schema = pl.from_arrow(table.slice(0, 0)).schema  # type: ignore[union-attr]
    except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
        raise NotTyped from error
    if schema != frame.schema:  # some types of Polars have no Arrow form
        raise NotTyped
    return table_node(kind, table)


def from_tree(tree: Node, read: FromTree) -> Any:
    if not tree.value:
        return pl.DataFrame(height=tree.attrs["rows"]) if tree.attrs["rows"] else pl.DataFrame()
    frame = pl.from_arrow(read_table(tree))
    assert isinstance(frame, pl.DataFrame)
    return frame.to_series() if tree.kind == "polars.series" else frame
