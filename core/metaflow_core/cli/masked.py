"""Addresses as they may be shown."""

from __future__ import annotations

import re


def masked(text: str) -> str:
    """``text`` without the passwords in the addresses it contains.

    >>> masked("postgresql://anne:secret@db/metaflow")
    'postgresql://anne:***@db/metaflow'
    """
    text = re.sub(r"(\w://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|secret|token|key)=)[^&\s]+", r"\1***", text)
