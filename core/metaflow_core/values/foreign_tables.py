"""What data frames and factors of another language are in Python: what the setting ``TABLES`` says."""

from __future__ import annotations

from typing import Any

from metaflow_core import settings
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, codec_of_kind


def read(tree: Node, read_part: FromTree) -> Any:
    """The value of a node of the kind ``dataframe`` or ``categorical``; Arrow data where pandas is absent."""
    choice = settings.get("TABLES")
    if choice == "pandas":
        try:
            return codec_of_kind(tree.kind).from_tree(tree, read_part)
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
    from metaflow_core.values import as_arrow, losses

    columns: Any = tree.value if tree.kind == "dataframe" else []
    parts = [tree, *columns]
    dropped = sorted({name[2:] for part in parts for name in part.fields if name.startswith("r:") and name != "r:self"})
    if dropped:
        losses.tell(f"attributes that it has in R are not kept in a table of {choice}: {', '.join(dropped)}.")
    data = as_arrow.table(tree) if tree.kind == "dataframe" else tree.data
    if choice != "polars":
        return data
    import polars

    return polars.from_arrow(data)
