"""The value of a config: a dict for everyone else."""

from __future__ import annotations

from typing import Any

from metaflow_core.config_value import ConfigList, ConfigValue, plain
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Tree:
    cls = type(value)
    if cls is ConfigList:
        return write(plain(value))
    if cls is not ConfigValue:
        raise NotTyped
    tree = write(value.to_dict())
    assert isinstance(tree, Node)
    tree.layout["config"] = value._name  # which is no part of the value: it equals a dict
    return tree


def from_tree(tree: Node, read: FromTree) -> Any:
    return ConfigValue(dict(zip(read(tree.fields["keys"]), read(tree.value), strict=True)), str(tree.layout["config"]))
