"""Secrets in a file that belongs to no project: ``NAME=value`` lines, or a JSON object."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException

_OPTIONS = ("format", "keys")
_LINE = re.compile(r"(?:export\s+)?([^\s=]+)\s*=\s*(.*)")
_ESCAPES = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\", "\\$": "$"}


class FileProvider:
    """``"file.~/.secrets/db.env"``; ``options`` may be ``format`` (``env`` or ``json``) and ``keys``, those wanted.

    A relative path starts at the working directory. Without ``format`` a file whose name ends in ``.json`` is JSON.
    """

    def check(self, id: str, options: Mapping[str, Any]) -> None:
        if not id:
            raise InvalidDecoratorAttribute(
                'a source of the type file needs an id, the path: "file.~/.secrets/db.env".'
            )
        for key in options:
            if key not in _OPTIONS:
                raise InvalidDecoratorAttribute(
                    f"a source of the type file does not take the option {key!r}. Its options: {', '.join(_OPTIONS)}."
                )
        if options.get("format") not in (None, "env", "json"):
            raise InvalidDecoratorAttribute('the option format of a source of the type file is "env" or "json".')
        keys = options.get("keys")
        if not isinstance(keys, (str, Sequence, type(None))) or not all(isinstance(key, str) for key in keys or ()):
            raise InvalidDecoratorAttribute("the option keys of a source of the type file must be a list of names.")

    def fetch(self, id: str, options: Mapping[str, Any], role: str | None) -> Mapping[str, str]:
        path = os.path.expanduser(id)
        try:
            with open(path, encoding="utf-8-sig") as file:
                text = file.read()
        except OSError as error:
            raise MetaflowException(
                f"The file {id}, which @secrets asks for, can't be read: {error.strerror}."
            ) from None
        except UnicodeDecodeError:
            raise MetaflowException(f"The file {id}, which @secrets asks for, is no text in UTF-8.") from None
        format = options.get("format") or ("json" if path.lower().endswith(".json") else "env")
        found = _json(text, id) if format == "json" else _env(text, id)
        keys = options.get("keys")
        if keys is None:
            return found
        keys = [keys] if isinstance(keys, str) else keys
        missing = [key for key in keys if key not in found]
        if missing:
            raise MetaflowException(f"The file {id} has no {', '.join(missing)}, which @secrets asks for.")
        return {key: found[key] for key in keys}


def _json(text: str, id: str) -> dict[str, str]:
    try:
        # Numbers stay as they are written.
        found = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MetaflowException(f"The file {id}, which @secrets asks for, is no JSON object.")
    for key, value in found.items():
        if isinstance(value, bool):
            found[key] = "true" if value else "false"
        elif not isinstance(value, str):
            raise MetaflowException(f"In the file {id}, which @secrets asks for, {key} is no text.")
    return found


def _env(text: str, id: str) -> dict[str, str]:
    """Lines ``NAME=value``, ``export NAME="value"`` and ``# comments``. A value in quotes may have several lines."""
    found: dict[str, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise MetaflowException(f"Line {number} of {id}, which @secrets asks for, is not of the form NAME=value.")
        value = match[2]
        quote = value[:1]
        if quote in ("'", '"'):
            began, closed = number, _closed(value)
            while closed is None and number < len(lines):
                value += "\n" + lines[number]
                number += 1
                closed = _closed(value)
            if closed is None:
                raise MetaflowException(
                    f"Line {began} of {id}, which @secrets asks for, opens a quote and never ends it."
                )
            value = value[1:closed]
            if quote == '"':
                value = re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), value)
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        found[match[1]] = value
    return found


def _closed(value: str) -> int | None:
    """Where the quote with which ``value`` begins is closed."""
    at = 1
    while at < len(value):
        if value[at] == "\\" and value[0] == '"':
            at += 1
        elif value[at] == value[0]:
            return at
        at += 1
    return None
