"""The text of a config and what it says: JSON, TOML, YAML, or what a parser makes of it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from metaflow_core.errors import MetaflowException
from metaflow_core.graph.paths import shown_path
from metaflow_core.names import show


class Malformed(Exception):
    """Text that is not in its format: says where and why."""


def read_text(path: str) -> str:
    """The content of the file; ``MetaflowException`` says why it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetaflowException(
            f"the file {shown_path(path)!r} is not text in UTF-8 (byte {error.start}). Save it in UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MetaflowException(f"the file {shown_path(path)!r} can't be read: {reason}.") from None


def parse(text: str, ending: str) -> Any:
    """What text of a file with this ending says; ``""`` is JSON. ``Malformed`` names the line and the column.

    >>> parse("rate = 0.1", ".toml")
    {'rate': 0.1}
    >>> parse('{"rate": 0.1,}', ".json")
    Traceback (most recent call last):
    metaflow_core.graph.config_file.Malformed: no valid JSON: line 1, column 14: ...
    """
    try:
        if ending == ".toml":
            return _toml(text)
        if ending in (".yaml", ".yml"):
            return _yaml(text)
        return _json(text)
    except RecursionError:
        raise Malformed("nested too deeply, or within itself") from None


def parser_of(given: Any) -> Callable[[str], Any]:
    """The function that is given, or that a dotted name names."""
    if callable(given):
        return given  # type: ignore[no-any-return]
    try:
        module, _, name = given.rpartition(".")
        found: Callable[[str], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MetaflowException(f"the parser {show(given)} can't be found: {error}.") from None
    return found


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"no valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None


def _toml(text: str) -> Any:
    toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise Malformed(f"no valid TOML: {error}") from None


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MetaflowException(
            "reading YAML needs the Python package 'pyyaml'. Install it, or write the config in JSON or TOML."
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Malformed(f"no valid YAML: {where}{getattr(error, 'problem', None) or error}") from None


def ending(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(path)[1].lower()
