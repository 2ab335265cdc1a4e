"""Which keys a store accepts, checked before a key reaches a path or an address."""

from __future__ import annotations

import re

from metaflow_core.errors import StorageError
from metaflow_core.names import show

# A component never starts with a dot, which leaves such names to the stores for their own files.
_COMPONENT = r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*"
_KEY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def check_key(key: str) -> str:
    """Return ``key``, or raise ``StorageError``: a relative POSIX path without ``..``, hidden or empty components.

    >>> check_key("logs/HelloFlow/1/start/1.0.log")
    'logs/HelloFlow/1/start/1.0.log'
    """
    if _KEY.fullmatch(key) is None:
        raise StorageError(f"The artifact store has no place for {show(key)}: it is no relative path of plain names.")
    return key
