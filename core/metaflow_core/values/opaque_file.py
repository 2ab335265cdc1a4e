"""The payload of an opaque value: a line of JSON that says what it is, then the bytes."""

from __future__ import annotations

import json

from metaflow_core.errors import UnreadableArtifact
from metaflow_core.values.node import Node
from metaflow_core.values.version import VERSION, check_version

_MAGIC = b"METAFLOW-OPAQUE "


def dumps(node: Node) -> bytes:
    """The payload of an opaque node."""
    assert isinstance(node.value, bytes)
    head = {"version": VERSION, "attrs": node.attrs, "layout": node.layout, "size": len(node.value)}
    return _MAGIC + json.dumps(head, separators=(",", ":")).encode("ascii") + b"\n" + node.value


def loads(payload: memoryview) -> Node:
    """The opaque node of a payload. ``UnreadableArtifact`` when it is damaged or too new."""
    start = bytes(payload[:65536])
    end = start.find(b"\n")
    if not start.startswith(_MAGIC) or end < 0:
        raise UnreadableArtifact("The artifact's stored data is damaged: it does not start as an opaque value does.")
    head = json.loads(start[len(_MAGIC) : end])
    check_version(head["version"])
    body = bytes(payload[end + 1 :])
    if len(body) != head["size"]:
        raise UnreadableArtifact(
            f"The artifact's stored data is damaged: it has {len(body):,} bytes where {head['size']:,} were written."
        )
    return Node("opaque", value=body, attrs=dict(head["attrs"]), layout=dict(head["layout"]))
