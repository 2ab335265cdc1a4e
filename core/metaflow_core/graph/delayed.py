"""Values in a flow's definition that are known once its configs are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaflow_core.config_value import plain
from metaflow_core.errors import MetaflowException
from metaflow_core.graph.model import Delayed


class Spread(Delayed):
    """A mapping whose items take its place among the arguments: ``**config.limits``."""

    def __init__(self, value: Delayed) -> None:
        self._value = value
        self._source = f"**{value._source}"

    def _resolve(self, configs: Mapping[str, Any]) -> Any:
        found = self._value._resolve(configs)
        if isinstance(found, Mapping):
            return found
        raise TypeError(f"** takes a mapping of names and values, not {type(found).__name__}")


def is_delayed(value: object) -> bool:
    """Whether there is a delayed value in the value, however deep."""
    if isinstance(value, Mapping):
        return any(is_delayed(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_delayed(item) for item in value)
    return isinstance(value, Delayed)


def resolve(value: Any, configs: Mapping[str, Any], where: str) -> Any:
    """The value with everything in it that was delayed. ``MetaflowException`` begins with ``where``."""
    if isinstance(value, Delayed):
        try:
            return plain(value._resolve(configs))
        except Exception as error:
            ours = isinstance(error, (AttributeError, MetaflowException))
            reason = str(error) if ours else f"{type(error).__name__}: {error}"
            raise MetaflowException(f"{where}: {value._source} can't be evaluated. {reason}") from None
    if not is_delayed(value):
        return value
    if isinstance(value, Mapping):
        found: dict[Any, Any] = {}
        for key, item in value.items():
            known = resolve(item, configs, where)
            found.update(known if isinstance(item, Spread) else {key: known})
        return found
    items = [resolve(item, configs, where) for item in value]
    return items if isinstance(value, list) else tuple(items)
