"""Names and values of labels that Kubernetes takes.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
"""

from __future__ import annotations

import re

LONGEST = 63
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def resource_name(text: str, unique: str) -> str:
    """A name of RFC 1123 that begins like ``text`` and ends with ``unique``, itself of digits and small letters.

    >>> resource_name("TrainFlow-12-_fit_all-3", "0f3a"), resource_name("ÜÜ", "0f3a")
    ('trainflow-12-fit-all-3-0f3a', 'task-0f3a')
    """
    start = re.sub(r"[^a-z0-9]+", "-", text.lower())[: LONGEST - 1 - len(unique)].strip("-")
    return f"{start or 'task'}-{unique}"


def label_value(text: str) -> str:
    """The nearest value of a label.

    >>> label_value("anne@example.org"), label_value("/tmp/"), label_value("x" * 70) == "x" * 63
    ('anne_example.org', 'tmp', True)
    """
    return re.sub(r"[^-A-Za-z0-9_.]", "_", text)[:LONGEST].strip("-_.")


def is_label_value(text: str) -> bool:
    """Whether a user's text can be the value of a label as it is."""
    return _LABEL_VALUE.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Whether a text can be the key of a label or of an annotation: ``name`` or ``domain/name``."""
    domain, slash, name = text.rpartition("/")
    if slash and not (len(domain) <= 253 and _DOMAIN.fullmatch(domain)):
        return False
    return _LABEL_NAME.fullmatch(name) is not None
