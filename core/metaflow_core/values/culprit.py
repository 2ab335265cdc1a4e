"""Finds the part of an object that can't be pickled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metaflow_core.errors import MetaflowException

_LIMIT = 10_000  # parts looked at before giving up


def find(value: Any) -> tuple[str, Any]:
    """The path from ``value`` to the innermost part that fails, and that part: ``("['a'][3].lock", <lock>)``."""
    path, seen = "", {id(value)}
    while not _refuses(value):
        for step, part in _parts(value):
            if len(seen) < _LIMIT and id(part) not in seen and not _pickles(part):
                seen.add(id(part))
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _refuses(value: Any) -> bool:
    """Whether it is an object that says itself why it can't be stored: what is in it is no business of the user's."""
    own = getattr(type(value), "__getstate__", None)
    if own is None or own is getattr(object, "__getstate__", None):
        return False
    try:
        own(value)
    except MetaflowException:
        return True
    except Exception:
        return False
    return False


def _pickles(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=5)
    except Exception:
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in list(value.items()))
        yield from ((f".keys()[{i}]", key) for i, key in enumerate(list(value)))
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((f"{{{part!r}}}", part) for part in value)
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in list(attributes.items()))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield f".{name}", getattr(value, name)
    code, cells = getattr(value, "__code__", None), getattr(value, "__closure__", None)
    if code is not None and cells:
        for name, cell in zip(code.co_freevars, cells, strict=True):
            yield f".<captured {name}>", cell.cell_contents
    if getattr(value, "__self__", None) is not None and not isinstance(value.__self__, type(__import__("sys"))):
        yield ".__self__", value.__self__
