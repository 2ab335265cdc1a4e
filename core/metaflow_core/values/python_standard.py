"""Types of the standard library that are a text: decimal numbers, UUIDs, paths."""

from __future__ import annotations

import sys
from typing import Any

from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Node:
    name = type(value).__name__
    if _is(value, "decimal", "Decimal"):
        return Node("decimal", value=str(value))
    if _is(value, "uuid", "UUID"):
        return Node("uuid", value=str(value))
    for flavour in ("Posix", "Windows"):
        if _is(value, "pathlib", f"{flavour}Path"):
            return Node("path", value=str(value), attrs={"flavour": flavour.lower()})
        if _is(value, "pathlib", f"Pure{flavour}Path"):
            return Node("path", value=str(value), attrs={"flavour": flavour.lower(), "pure": True})
    raise NotTyped(name)


def _is(value: Any, module: str, name: str) -> bool:
    return type(value) is getattr(sys.modules.get(module), name, None)


def from_tree(tree: Node, read: FromTree) -> Any:
    text: Any = tree.value
    if tree.kind == "decimal":
        from decimal import Decimal

        return Decimal(text)
    if tree.kind == "uuid":
        from uuid import UUID

        return UUID(text)
    import pathlib

    windows = tree.attrs["flavour"] == "windows"
    here = isinstance(pathlib.PurePath(), pathlib.PureWindowsPath) == windows
    if here and not tree.attrs.get("pure"):
        return pathlib.Path(text)
    return (pathlib.PureWindowsPath if windows else pathlib.PurePosixPath)(text)
