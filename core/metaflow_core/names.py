"""Which names are allowed, checked before a name reaches a path, a query or a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from metaflow_core.errors import MetaflowException, MetaflowInvalidPathspec, MetaflowTaggingError

MAX_NAME = 200
MAX_TAG = 500
MAX_USER_TAGS = 50

_RUN_OR_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_identifier(name: object) -> bool:
    """Whether ``name`` can name a flow, a step or an artifact: an identifier of at most 200 bytes in UTF-8."""
    return isinstance(name, str) and name.isidentifier() and len(name.encode()) <= MAX_NAME


def check_identifier(name: str, what: str) -> str:
    """Return ``name``, or raise a ``MetaflowException`` that says what it was meant to name."""
    if not is_identifier(name):
        raise MetaflowException(
            f"{show(name)} can't name {what}: use letters, digits and underscores, not a digit first, "
            f"at most {MAX_NAME} bytes."
        )
    return name


def is_id(value: object) -> bool:
    """Whether ``value`` can be the id of a run or a task."""
    return isinstance(value, str) and _RUN_OR_TASK_ID.fullmatch(value) is not None


def split_pathspec(pathspec: object, kinds: tuple[str, ...]) -> list[str]:
    """Split ``Flow/run/step/task/artifact`` into as many checked parts as ``kinds`` names.

    >>> split_pathspec("HelloFlow/546", ("flow", "run"))
    ['HelloFlow', '546']
    """
    form = "/".join(f"<{kind}>" for kind in kinds)
    if not isinstance(pathspec, str):
        raise MetaflowInvalidPathspec(f"Expected a pathspec of the form {form}, not {show(pathspec)}.")
    parts = pathspec.split("/")
    if len(parts) != len(kinds):
        raise MetaflowInvalidPathspec(f"{show(pathspec)} is no pathspec of the form {form}.")
    for part, kind in zip(parts, kinds, strict=True):
        valid = is_id(part) if kind in ("run", "task") else is_identifier(part)
        if not valid:
            raise MetaflowInvalidPathspec(
                f"{show(pathspec)} is no pathspec of the form {form}: {show(part)} is no {kind}."
            )
    return parts


def check_tag(tag: object) -> str:
    """Return ``tag``, or raise ``MetaflowTaggingError``: tags are non-empty text of at most 500 characters."""
    if not isinstance(tag, str):
        raise MetaflowTaggingError(f"A tag must be text, not {type(tag).__name__}: {show(tag)}")
    if not tag:
        raise MetaflowTaggingError("A tag must not be empty.")
    if len(tag) > MAX_TAG:
        raise MetaflowTaggingError(f"A tag has at most {MAX_TAG} characters, {show(tag)} has {len(tag)}.")
    if "\0" in tag or not _is_utf8(tag):
        raise MetaflowTaggingError(f"A tag must be valid text: {show(tag)}")
    return tag


def check_namespace(namespace: object) -> str | None:
    """Return ``namespace``, or raise ``MetaflowException``: it is a tag, or None for the global one."""
    try:
        return None if namespace is None else check_tag(namespace)
    except MetaflowTaggingError:
        raise MetaflowException(
            f"A namespace is a tag, a non-empty text of at most {MAX_TAG} characters, or None for the global "
            f"namespace. {show(namespace)} is neither."
        ) from None


def check_user_tags(tags: Sequence[str]) -> list[str]:
    """The tags without repetition, or ``MetaflowTaggingError`` when one is no tag or there are more than 50."""
    checked = list(dict.fromkeys(check_tag(tag) for tag in tags))
    if len(checked) > MAX_USER_TAGS:
        raise MetaflowTaggingError(f"A run has at most {MAX_USER_TAGS} user tags, not {len(checked)}.")
    return checked


def advise(name: str, known: Iterable[str], what: str) -> str:
    """What to say after a name that is unknown.

    >>> advise("tarin", ["start", "train"], "Steps")
    "Did you mean 'train'?"
    >>> advise("fit", ["start", "train"], "Steps")
    'Steps: start, train.'
    """
    names = list(known)
    close = near(name, names)
    return f"{what}: {', '.join(names) or 'none'}." if close is None else f"Did you mean {close!r}?"


def near(name: str, known: Iterable[str]) -> str | None:
    """Which of the names someone may have meant who wrote ``name``; case makes no difference.

    >>> near("Trian", ["start", "train"])
    'train'
    """
    import difflib

    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, 1)
    return lower[found[0]] if found else None


def show(value: object) -> str:
    """``repr`` cut to a length that fits a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def masked(text: str) -> str:
    """``text`` without the passwords in the addresses it contains.

    >>> masked("postgresql://anne:secret@db/metaflow")
    'postgresql://anne:***@db/metaflow'
    """
    text = re.sub(r"(\w://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    # One that was not encoded, with a slash in it. What is a number before a slash is a port.
    text = re.sub(r"(\w://[^\s:/@]*):(?!\d+/)[^\s@\"',]*/[^\s@\"',]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|sslpassword|secret|token|key)=)[^&\s]+", r"\1***", text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
