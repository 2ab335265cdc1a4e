"""A value of one language as another has it, by way of its stored form."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from metaflow_core.values import Stored, decode, encode, trust


def in_language(value: Any, wrote: str, language: str) -> Any:
    """A copy of ``value``, which is one of the language ``wrote``, in ``language``."""
    encoded = encode(value, language=wrote)
    payload = BytesIO()
    if encoded.write is not None:
        encoded.write(payload)
    stored = Stored(
        encoded.type,
        encoded.language,
        encoded.encoding,
        encoded.fingerprint,
        encoded.size,
        encoded.scalar,
        (lambda: memoryview(payload.getvalue())) if encoded.write is not None else None,
    )
    with trust.written_by(trust.nobody):  # it is in this process already
        return decode(stored, language=language)
