"""Dense torch tensors on the CPU. Torch is imported only by whoever has such a tensor, or reads one."""

from __future__ import annotations

from typing import Any

import torch  # type: ignore[import-not-found, unused-ignore]

from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Node:
    if type(value) is not torch.Tensor or value.device.type != "cpu" or value.layout is not torch.strided:
        raise NotTyped
    if not value.is_leaf or value.is_conj() or value.is_neg() or value.is_quantized:
        raise NotTyped
    plain = value.detach().contiguous()
    attrs: dict[str, Any] = {"dtype": str(value.dtype).removeprefix("torch.")}
    if value.requires_grad:
        attrs["requires_grad"] = True
    if value.dtype is torch.bfloat16:  # numpy has no such type: its bits are kept
        plain = plain.view(torch.int16)
    try:
        array = plain.numpy()
    except TypeError as error:
        raise NotTyped from error
    return Node("torch.tensor", value=write(array), attrs=attrs)


def from_tree(tree: Node, read: FromTree) -> Any:
    tensor = torch.from_numpy(read(tree.value))
    if tree.attrs["dtype"] == "bfloat16":
        tensor = tensor.view(torch.bfloat16)
    return tensor.requires_grad_(bool(tree.attrs.get("requires_grad")))
