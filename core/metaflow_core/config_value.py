"""The value of a config: a dict that is read by dots too, and can't be changed.

>>> config = ConfigValue({"model": {"rate": 0.1, "layers": [8, 4]}})
>>> config.model.rate, config["model"]["layers"][0]
(0.1, 8)
>>> config.to_dict()
{'model': {'rate': 0.1, 'layers': [8, 4]}}
>>> config.model.rat
Traceback (most recent call last):
AttributeError: config.model has no key 'rat'. Did you mean 'rate'?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


class ConfigValue(dict[Any, Any]):
    """A dict whose keys are attributes too: ``config.model.rate`` is ``config["model"]["rate"]``.

    It can't be changed, and neither can what is in it: ``to_dict()`` gives a copy that can. A key that is called like a
    method of a dict (``items``), or that is no identifier, is read in brackets only. ``AttributeError`` says which
    key is nearest to one that is not there.
    """

    __module__ = "metaflow"  # where users find it
    __slots__ = ("_name",)

    def __init__(self, data: Mapping[Any, Any] | None = None, name: str = "config") -> None:
        super().__init__({key: _fixed(item, f"{name}.{key}") for key, item in (data or {}).items()})
        object.__setattr__(self, "_name", name)

    def to_dict(self) -> dict[Any, Any]:
        """A copy that can be changed, of plain dicts and lists."""
        return {key: plain(item) for key, item in self.items()}

    copy = to_dict

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(absent(self._name, name, self))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self if isinstance(key, str))]

    def __repr__(self) -> str:
        return f"ConfigValue({self.to_dict()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigValue, (self.to_dict(), self._name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(self._refusal(f".{name}"))

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._refusal(f".{name}"))

    def __setitem__(self, key: Any, value: object) -> NoReturn:
        raise TypeError(self._refusal(f"[{key!r}]"))

    def __delitem__(self, key: Any) -> NoReturn:
        raise TypeError(self._refusal(f"[{key!r}]"))

    def _refuse(self, *args: object, **keywords: object) -> NoReturn:
        raise TypeError(self._refusal(""))

    def _refusal(self, part: str) -> str:
        return f"{self._name}{part} can't be changed: a config is fixed. Change a copy: {self._name}.to_dict()"

    clear = pop = popitem = setdefault = update = __ior__ = _refuse


class ConfigList(list[Any]):
    """A list in a config, which can't be changed. Stored or copied by itself it is a plain list."""

    __slots__ = ("_name",)

    def __init__(self, items: list[Any], name: str) -> None:
        super().__init__(_fixed(item, f"{name}[{i}]") for i, item in enumerate(items))
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (plain(self),)

    def _refuse(self, *args: object, **keywords: object) -> NoReturn:
        raise TypeError(f"{self._name} can't be changed: a config is fixed. Change a copy: list({self._name})")

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse


def plain(value: Any) -> Any:
    """A value of a config as one that can be changed, of plain dicts and lists."""
    if isinstance(value, ConfigValue):
        return value.to_dict()
    return [plain(item) for item in value] if isinstance(value, ConfigList) else value


def absent(name: str, key: str, config: Mapping[Any, Any]) -> str:
    """The message about a key that a config lacks."""
    import difflib

    keys = [str(known) for known in config]
    near = difflib.get_close_matches(key, keys, 1)
    advice = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(keys) or 'nothing'}."
    return f"{name} has no key {key!r}. {advice}"


def _fixed(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return ConfigValue(value, name)
    return ConfigList(value, name) if isinstance(value, list) else value
