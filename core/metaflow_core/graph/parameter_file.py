"""A parameter whose value is the content of a file."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from metaflow_core.errors import MetaflowException, ParameterFieldFailed, ParameterFieldTypeMismatch
from metaflow_core.graph.model import ParameterDef
from metaflow_core.graph.raised import told
from metaflow_core.names import show


def read_file(parameter: ParameterDef, path: Any) -> Any:
    """The content of the file at ``path``: ``str``, ``bytes``, or what the parameter's parser makes of it.

    ``ParameterFieldTypeMismatch`` names a file that is missing or is not text; ``ParameterFieldFailed`` a parser that
    raised.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ParameterFieldTypeMismatch(f"Parameter {parameter.name!r} must be the path of a file, not {show(path)}.")
    path = os.path.expanduser(path)
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterFieldTypeMismatch(
            f"Parameter {parameter.name!r}: the file {str(path)!r} can't be read: {reason}."
        ) from None
    content = _decoded(parameter, path, raw) if parameter.options.get("is_text", True) else raw
    return parsed(parameter, content, repr(str(path)))


def parsed(parameter: ParameterDef, content: str | bytes, file: str) -> Any:
    """What the parser of the parameter, if it has one, makes of the content; ``file`` names it in a message."""
    parser = parameter.options.get("parser")
    if parser is None:
        return content
    function = parser if callable(parser) else _function(parameter, parser)
    try:
        return function(content)
    except Exception as error:
        raise ParameterFieldFailed(
            f"The parser of parameter {parameter.name!r} could not take the file {file}. It {told(error)}"
        ) from error


def _decoded(parameter: ParameterDef, path: Any, content: bytes) -> str:
    encoding = parameter.options.get("encoding") or "utf-8"
    try:
        return content.decode(encoding)
    except LookupError:
        raise MetaflowException(f"Parameter {parameter.name!r}: there is no encoding {show(encoding)}.") from None
    except UnicodeDecodeError as error:
        raise ParameterFieldTypeMismatch(
            f"Parameter {parameter.name!r}: the file {str(path)!r} is not text in {encoding} (byte {error.start}). "
            f"Name its encoding, or use is_text=False."
        ) from None


def _function(parameter: ParameterDef, dotted: str) -> Callable[[Any], Any]:
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MetaflowException(
            f"Parameter {parameter.name!r}: the parser {dotted!r} can't be found: {error}."
        ) from None
    return found  # type: ignore[no-any-return]
