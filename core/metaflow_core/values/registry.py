"""Who turns which type into a tree, and which kind of node back into a value, per language."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol, cast

from metaflow_core.errors import UnreadableArtifact, UnserializableValue
from metaflow_core.values.node import Tree

ToTree = Callable[[Any], Tree]
FromTree = Callable[[Tree], Any]

ANY = "*"


class NotTyped(Exception):
    """A value that has no neutral form after all: it is stored as opaque."""


class Unstorable(Exception):
    """A part of a value can't be stored at all. Each level that it passes prepends its step to ``path``."""

    def __init__(self, type_name: str, why: str, path: str = "") -> None:
        self.type_name, self.why, self.path = type_name, why, path
        super().__init__(why)


class ValueCodec(Protocol):
    """Carries some types of one language to trees and back. Plugins give theirs through the hook ``value_codecs``.

    ``types`` are qualified names (the class's ``__module__``, a dot, its ``__qualname__``), so that no module is
    imported to find a codec; a subclass is another type. ``kinds`` are the kinds of node that it reads; choose a name
    with a dot (``"shop.Money"``), names without one are the core's.

    A codec whose ``types`` and ``kinds`` are ``("*",)`` is the whole of its language: it is given every value and
    every tree, bare scalars and lists included. That is how R is plugged in. The name under which such a value's type
    is listed is ``layout["type"]`` of its node, else ``attrs["type"]``, else its kind.

        class MoneyCodec:
            language, types, kinds = "python", ("shop.Money",), ("shop.Money",)

            def to_tree(self, value, write):
                return Node("shop.Money", value=[str(value.amount), value.currency])

            def from_tree(self, tree, read):
                return shop.Money(*tree.value)
    """

    language: str
    types: Sequence[str]
    kinds: Sequence[str]

    def to_tree(self, value: Any, write: ToTree) -> Tree:
        """The tree of ``value``; ``write`` gives the tree of a part of it. Raises ``NotTyped`` to have it pickled."""

    def from_tree(self, tree: Any, read: FromTree) -> Any:
        """The value of ``tree``; ``read`` gives the value of a part of it. Must not execute code found in the data."""


class _Module(Protocol):
    """A module of the core that carries Python types: a codec without a class."""

    def to_tree(self, value: Any, write: ToTree) -> Tree: ...

    def from_tree(self, tree: Any, read: FromTree) -> Any: ...


# By the package that a type comes from: which module of ours carries it. It raises NotTyped for types it does not know.
_BY_PACKAGE = {
    "datetime": "python_datetime",
    "zoneinfo": "python_datetime",
    "decimal": "python_standard",
    "uuid": "python_standard",
    "pathlib": "python_standard",
    "collections": "python_collections",
    "numpy": "python_numpy",
    "pandas": "python_pandas",
    "polars": "python_polars",
    "pyarrow": "python_arrow",
    "scipy": "python_scipy",
    "torch": "python_torch",
    "metaflow": "python_config",
}

_BY_KIND = {
    kind: module
    for module, kinds in {
        "python_datetime": "datetime date time timedelta timezone",
        "python_standard": "decimal uuid path",
        "python_collections": "ordereddict defaultdict counter deque",
        "python_classes": "enum dataclass namedtuple",
        "python_numpy": "ndarray numpy.scalar",
        "python_pandas": "dataframe series index multiindex categorical pandas.scalar pandas.array",
        "python_polars": "polars.frame polars.series",
        "python_arrow": "arrow.array arrow.chunked arrow.scalar arrow.table arrow.batch",
        "python_scipy": "sparse",
        "python_torch": "torch.tensor",
        "python_config": "config",
        "python_r": "na r.vector r.list",
        "opaque": "opaque",
    }.items()
    for kind in kinds.split()
}


def codec_of_type(cls: type) -> _Module | None:
    """What carries values of the Python class ``cls``, or None."""
    package = cls.__module__.partition(".")[0]
    if package in _BY_PACKAGE:
        return _module(_BY_PACKAGE[package])
    if package == "builtins":
        return None
    return _plugged("python")[0].get(f"{cls.__module__}.{cls.__qualname__}")


def codec_of_kind(kind: str) -> _Module:
    """What reads nodes of ``kind`` into Python. ``UnreadableArtifact`` when nothing does."""
    if kind in _BY_KIND:
        return _module(_BY_KIND[kind])
    codec = _plugged("python")[1].get(kind)
    if codec is None:
        from metaflow_core.plugins import broken_hint

        raise UnreadableArtifact(
            f"The artifact holds a value of the kind {kind!r}, which nothing that is installed here can read. "
            f"Install the plugin that wrote it, or upgrade metaflow-tandem.{broken_hint()}"
        )
    return codec


def codec_of_language(language: str) -> ValueCodec | None:
    """The codec that is the whole of ``language``, or None when no plugin provides one."""
    return _plugged(language)[0].get(ANY)


def need_language(language: str) -> ValueCodec:
    """The codec that is the whole of ``language``. ``UnserializableValue`` when no plugin provides one."""
    codec = codec_of_language(language)
    if codec is None:
        raise UnserializableValue(f"Values of the language {language!r} can't be carried: no plugin provides them.")
    return codec


def is_fixed(value: Any, language: str) -> bool:
    """Whether code in ``language`` can't change ``value`` in place. The codec of a language says so by ``is_fixed``."""
    codec = None if language == "python" else codec_of_language(language)
    answer = getattr(codec, "is_fixed", None)
    return answer is not None and bool(answer(value))


@cache
def _plugged(language: str) -> tuple[dict[str, ValueCodec], dict[str, ValueCodec]]:
    from metaflow_core import plugins

    codecs = [c for given in plugins.hook().value_codecs() for c in given if c.language == language]
    codecs.reverse()  # of several for one type the first counts
    return {t: c for c in codecs for t in c.types}, {k: c for c in codecs for k in c.kinds}


@cache
def _module(name: str) -> _Module:
    return cast(_Module, importlib.import_module(f"metaflow_core.values.{name}"))
