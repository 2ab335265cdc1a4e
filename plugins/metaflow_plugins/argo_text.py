"""Texts that arrive in a container as they are.

Argo replaces what stands in ``{{...}}``, and may do so twice; then Kubernetes replaces ``$(NAME)`` in values of
variables, and makes ``$`` of ``$$``. In JSON both are avoided by other ways to spell the same text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

BRACE = "ARGO_BRACE"  # a variable that holds a brace


def json_text(value: Any) -> str:
    r"""JSON in which nothing is replaced.

    >>> print(json_text({"a": "{{workflow.name}} costs $$(5)"}))
    {"a": "{\u007bworkflow.name}} costs \u0024\u0024(5)"}
    """
    return safe_json(json.dumps(value))


def safe_json(text: str) -> str:
    """The same for text that is JSON: outside of its strings there are neither dollars nor two braces in a row."""
    return text.replace("{{", "{\\u007b").replace("$", "\\u0024")


def variable_text(value: str) -> str:
    """A variable's value, for a container that has :data:`BRACE`.

    >>> variable_text("{{workflow.name}} costs $5")
    '{$(ARGO_BRACE)workflow.name}} costs $$5'
    """
    return value.replace("$", "$$").replace("{{", "{$(" + BRACE + ")")


def shown_text(text: str) -> str:
    """Text for people, in which Argo sees nothing to replace.

    >>> shown_text("what {{{x}}} is")
    'what { { {x}}} is'
    """
    return re.sub(r"\{(?=\{)", "{ ", text)


def texts(document: Any) -> Iterator[str]:
    """All texts in a document, keys included."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from texts(value)
    elif isinstance(document, (list, tuple)):
        for value in document:
            yield from texts(value)
