"""Other languages: what R writes reads in Python, and a plugin carries types or a whole language."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from metaflow_core.errors import UnreadableArtifact, UnserializableValue
from metaflow_core.hookspecs import hookimpl
from metaflow_core.plugins import manager
from metaflow_core.values import Encoded, OpaqueValue, Stored, decode, encode, registry
from metaflow_core.values.encoder import encode_tree
from metaflow_core.values.node import Node, Tree


def store(encoded: Encoded) -> Stored:
    file = io.BytesIO()
    if encoded.write is not None:
        encoded.write(file)
    data = file.getvalue()
    read = (lambda: memoryview(bytearray(data))) if encoded.write is not None else None
    return Stored(
        encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar, read
    )


def from_r(tree: Tree) -> Any:
    """How a tree that R wrote reads in Python, stored in between."""
    return decode(store(encode_tree(tree, "whatever R calls it", "r")))


def printed(tree: Tree) -> str:
    return encode_tree(tree, "whatever R calls it", "r").fingerprint


def doubles(names: Tree, field: str = "names") -> Node:
    return Node("r.vector", attrs={"type": "double"}, data=pa.array([1.0, 2.0]), fields={field: names})


INTEGERS = pa.array([1, None, 3], pa.int32())


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (None, None),
        (1, 1),
        (1.5, 1.5),
        ("a", "a"),
        (Node("na", attrs={"type": "character"}), None),
        (Node("list", data=INTEGERS), [1, None, 3]),
        (Node("list", data=pa.array(["a", None])), ["a", None]),
        (doubles(["a", "b"]), {"a": 1.0, "b": 2.0}),
        (Node("r.vector", attrs={"type": "integer"}, data=pa.array([], pa.int32())), []),
        (Node("r.list", value=[1, 2], attrs={}), [1, 2]),
        (Node("r.list", value=[1, [2]], fields={"names": ["a", "b"]}), {"a": 1, "b": [2]}),
        (Node("dict", value=[1, [2]], fields={"keys": ["a", "b"]}), {"a": 1, "b": [2]}),
    ],
)
def test_r_values_read_by_the_conventions(tree: Tree, value: Any) -> None:
    back = from_r(tree)
    assert back == value and type(back) is type(value)


def test_attributes_that_python_has_no_place_for_are_named() -> None:
    with pytest.warns(UserWarning, match="units"):
        assert from_r(doubles("cm", "units")) == [1.0, 2.0]
    with pytest.warns(UserWarning, match="names"):
        assert from_r(doubles(["a", "a"])) == [1.0, 2.0]


def test_r_arrays_factors_and_frames() -> None:
    numbers = {"dim": Node("list", data=pa.array([2, 2], pa.int32()))}
    with_na = Node(
        "r.vector", attrs={"type": "integer"}, data=pa.array([1, None, 3, 4], pa.int32()), fields=dict(numbers)
    )
    np.testing.assert_array_equal(from_r(with_na), [[1, 3], [np.nan, 4]])
    matrix = from_r(
        Node(
            "ndarray", attrs={"dtype": "float64", "shape": [2, 2]}, layout={"order": "F"}, data=pa.array([1.0, 2, 3, 4])
        )
    )
    np.testing.assert_array_equal(matrix, [[1, 3], [2, 4]])

    levels = pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int32()), pa.array(["lo", "hi"]))
    pd.testing.assert_extension_array_equal(
        from_r(Node("categorical", attrs={"ordered": True}, data=levels)),
        pd.Categorical(["lo", None, "hi"], categories=["lo", "hi"], ordered=True),
    )
    frame = Node(
        "dataframe",
        value=[
            Node("column", attrs={"name": "n"}, data=INTEGERS),
            Node("column", attrs={"name": "x"}, data=pa.array([1.0, 2, 3])),
            Node("column", attrs={"name": "s"}, data=pa.array(["a", None, "c"])),
            Node("column", attrs={"name": "b"}, data=pa.array([True, None, False])),
            Node("column", attrs={"name": "t"}, data=pa.array([0, 1, None], pa.timestamp("us", "UTC"))),
            Node("categorical", attrs={"name": "f"}, data=levels),
        ],
    )
    back = from_r(frame)
    assert list(back.dtypes.astype(str)) == ["Int32", "float64", "str", "boolean", "datetime64[us, UTC]", "category"]
    assert back["n"].isna().tolist() == back["s"].isna().tolist() == back["b"].isna().tolist() == [False, True, False]


def test_a_setting_chooses_what_a_table_of_r_is(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Node("dataframe", value=[Node("column", attrs={"name": "n"}, data=INTEGERS)])
    monkeypatch.setenv("METAFLOW_TABLES", "polars")
    assert from_r([frame])[0].equals(pl.DataFrame({"n": [1, None, 3]}, schema={"n": pl.Int32}))
    monkeypatch.setenv("METAFLOW_TABLES", "arrow")
    assert from_r({"a": frame}["a"]).equals(pa.table({"n": INTEGERS}))
    monkeypatch.setenv("METAFLOW_TABLES", "pandas")
    assert type(from_r(frame)) is pd.DataFrame
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "metaflow_core.values.python_pandas")
    registry._module.cache_clear()
    assert type(from_r(frame)) is pa.Table


def test_equal_values_have_one_fingerprint_in_both_languages() -> None:
    assert printed(1) == encode(1).fingerprint and printed(1.0) == encode(1.0).fingerprint
    assert printed(Node("list", data=INTEGERS)) == encode([1, None, 3]).fingerprint
    assert printed(Node("list", data=pa.array([1.5, None]))) == encode([1.5, None]).fingerprint
    assert printed(Node("dict", value=[1, "x"], fields={"keys": ["a", "b"]})) == encode({"a": 1, "b": "x"}).fingerprint
    array = np.arange(6.0).reshape(2, 3)
    columns = pa.array(array.reshape(-1, order="F"))
    r = Node("ndarray", attrs={"dtype": "float64", "shape": [2, 3]}, layout={"order": "F"}, data=columns)
    assert printed(r) == encode(array).fingerprint
    frame = pd.DataFrame({"x": [1.0, 2.0], "s": ["a", "b"], "f": pd.Categorical(["u", "v"])})
    levels = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["u", "v"]))
    r = Node(
        "dataframe",
        value=[
            Node("column", attrs={"name": "x"}, data=pa.array([1.0, 2.0])),
            Node("column", attrs={"name": "s"}, data=pa.array(["a", "b"])),
            Node("categorical", attrs={"name": "f"}, data=levels),
        ],
    )
    assert printed(r) == encode(frame).fingerprint


def test_a_handle_of_another_language_needs_its_plugin() -> None:
    with pytest.raises(UnserializableValue, match="'klingon'"):
        encode(1, language="klingon")
    with pytest.raises(UnreadableArtifact, match="'klingon'"):
        decode(store(encode(1)), language="klingon")
    with pytest.raises(UnreadableArtifact, match="upgrade metaflow-tandem"):
        from_r(Node("shop.Unknown", value=3))


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount


class MoneyCodec:
    language = "python"
    types: Sequence[str] = (f"{__name__}.Money",)
    kinds: Sequence[str] = ("shop.Money",)

    def to_tree(self, value: Any, write: registry.ToTree) -> Tree:
        return Node("shop.Money", value=value.amount)

    def from_tree(self, tree: Any, read: registry.FromTree) -> Any:
        return Money(tree.value)


class Shouting:
    """A whole language, in which every text is upper case and lists are tuples."""

    language = "shouting"
    types: Sequence[str] = ("*",)
    kinds: Sequence[str] = ("*",)

    def to_tree(self, value: Any, write: registry.ToTree) -> Tree:
        return [write(v) for v in value] if isinstance(value, tuple) else value.lower()  # type: ignore[no-any-return]

    def from_tree(self, tree: Any, read: registry.FromTree) -> Any:
        if isinstance(tree, Node):
            return f"{tree.attrs['type']} of {tree.attrs['language']}"
        return tuple(map(read, tree)) if isinstance(tree, list) else tree.upper()


class Plugin:
    @hookimpl
    def value_codecs(self) -> list[Any]:
        return [MoneyCodec(), Shouting()]


@pytest.fixture
def plugin() -> Iterator[None]:
    manager().register(Plugin(), name="values-test")
    registry._plugged.cache_clear()
    yield
    manager().unregister(name="values-test")
    registry._plugged.cache_clear()


@pytest.mark.usefixtures("plugin")
def test_a_plugin_carries_a_type() -> None:
    encoded = encode({"price": Money(5)})
    assert encoded.encoding == "json"
    assert decode(store(encoded))["price"].amount == 5


@pytest.mark.usefixtures("plugin")
def test_a_plugin_carries_a_language() -> None:
    encoded = encode(("A", ("B",)), language="shouting")
    assert (encoded.language, encoded.fingerprint) == ("shouting", encode(["a", ["b"]]).fingerprint)
    assert decode(store(encoded)) == ["a", ["b"]]
    assert decode(store(encode(["a", ["b"]])), language="shouting") == ("A", ("B",))
    assert OpaqueValue("shouting", "x", "Cry", "", b"!").load() == "Cry of shouting"
