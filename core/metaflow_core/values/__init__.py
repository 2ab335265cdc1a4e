"""The artifact codec: values to Arrow and back, and fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.values.encoded import Encoded, Stored

if TYPE_CHECKING:
    from metaflow_core.values.decoder import decode, to_arrow
    from metaflow_core.values.encoder import encode
    from metaflow_core.values.opaque import OpaqueValue

__all__ = ["Encoded", "OpaqueValue", "Stored", "decode", "encode", "to_arrow"]

_HOME = {"encode": "encoder", "decode": "decoder", "to_arrow": "decoder", "OpaqueValue": "opaque"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
