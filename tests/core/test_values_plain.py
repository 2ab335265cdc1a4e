"""Plain values: scalars, containers and the types of the standard library."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import io
import math
import pathlib
import pickle
import struct
import subprocess
import sys
import threading
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metaflow_core.errors import UnreadableArtifact, UnserializableValue
from metaflow_core.values import Encoded, OpaqueValue, Stored, decode, encode


def store(encoded: Encoded) -> Stored:
    """What a store gives back."""
    file = io.BytesIO()
    if encoded.write is not None:
        encoded.write(file)
    assert len(file.getvalue()) == encoded.size
    read = (lambda: memoryview(bytearray(file.getvalue()))) if encoded.write is not None else None
    return Stored(
        encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar, read
    )


def roundtrip(value: Any) -> Any:
    return decode(store(encode(value)))


def payload(value: Any) -> bytes:
    file = io.BytesIO()
    encoded = encode(value)
    assert encoded.write is not None
    encoded.write(file)
    return file.getvalue()


def damaged(encoded: Encoded, data: bytes) -> Stored:
    return Stored(encoded.type, "python", encoded.encoding, "", len(data), None, lambda: memoryview(data))


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Text(str):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class Pair(NamedTuple):
    first: Any
    second: Any


class Plain:
    def __init__(self, content: Any) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.content == other.content

    __hash__ = object.__hash__


PARIS = zoneinfo.ZoneInfo("Europe/Paris")

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    2**63,
    -(10**5000),
    0.1,
    float("inf"),
    1e-320,
    "",
    "naïve 🎻",
    "nul\0inside",
    "lone \ud800 surrogate",
    "x" * 5000,
    "\udcff" * 3000,
    b"",
    b"\0\xff" * 4000,
    bytearray(b"abc"),
    bytearray(b"abc" * 3000),
    1 + 2j,
    range(3, 30, 4),
    [],
    [[], [[]], None],
    list(range(10_000)),
    [1, None] * 5000,
    [2**70] * 3000,
    [1, 2.0, "3", b"4", True, None],
    ["a", None, "é"] * 3000,
    (1, (2, [3])),
    tuple(range(9000)),
    {1, "a", (1, 2), frozenset({3})},
    frozenset(),
    {},
    {"b": 1, "a": [1, {"c": ()}], "$": 3, "": None},
    {1: "int", "1": "str", (1, 2): "tuple", None: 0, 2.5: 1, b"x": 2, True + 1: 3},
    {f"key {i}": i * 1.5 for i in range(3000)},
    {"deep": {"er": [{"x": {1, 2}}] * 400}},
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.defaultdict(list, {"a": [1]}),
    collections.defaultdict(None, {1: 2}),
    collections.Counter("abracadabra"),
    collections.deque([1, 2, 3], maxlen=5),
    dt.datetime(2024, 2, 29, 12, 30, 1, 5),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),
    dt.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1), "odd")),
    dt.date(1, 1, 1),
    dt.time(23, 59, 59, 999999, fold=1),
    dt.timedelta(days=-5, microseconds=3),
    dt.timezone.utc,
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    uuid.UUID(int=5),
    pathlib.Path("a/b"),
    pathlib.PureWindowsPath("c:/x"),
    Colour.BLUE,
    Level.LOW,
    Flags.A | Flags.B,
    Text("sub"),
    Point(1, [Point(2)]),
    Frozen(3),
    Pair(1, {"a": 2}),
    Plain([1, 2]),
    {"typed": [1, 2], "opaque": Plain("x"), "more": [Plain(1)] * 3},
    slice(1, 2),
    ...,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    back = roundtrip(value)
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, dict):
        assert list(back) == list(value)
        assert [type(key) for key in back] == [type(key) for key in value]


def test_floats_come_back_bit_by_bit() -> None:
    for value in (-0.0, float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308):
        for back in (roundtrip(value), roundtrip([value])[0], roundtrip([value] * 2000)[0]):
            assert struct.pack("d", back) == struct.pack("d", value)
    assert math.isnan(roundtrip(float("nan")))
    assert math.isnan(roundtrip({"x": float("nan")})["x"])


def test_attributes_of_a_type_survive() -> None:
    assert roundtrip(collections.deque([1], maxlen=2)).maxlen == 2
    assert roundtrip(collections.defaultdict(list)).default_factory is list
    assert roundtrip(dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1)).fold == 1
    assert roundtrip(dt.datetime(2024, 1, 1, tzinfo=PARIS)).tzinfo is PARIS
    assert roundtrip(dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)).tzinfo is dt.timezone.utc
    assert roundtrip(dt.time(1, tzinfo=dt.timezone(dt.timedelta(seconds=1), "odd"))).tzname() == "odd"
    assert roundtrip(Colour.RED) is Colour.RED


def test_scalars_are_columns_without_a_payload() -> None:
    for value, encoding in ((None, "null"), (True, "bool"), (3, "int"), (0.5, "float"), ("a", "str")):
        encoded = encode(value)
        assert (encoded.encoding, encoded.scalar, encoded.size, encoded.write) == (encoding, value, 0, None)


def test_what_no_column_holds_has_a_payload() -> None:
    assert [encode(v).encoding for v in (2**63, "a\0b", "\ud800", Level.LOW, Text("a"))] == ["json"] * 5
    assert encode("x" * 5000).encoding == "arrow"


def test_small_plain_values_need_neither_pyarrow_nor_numpy() -> None:
    code = (
        "import sys, io, datetime, decimal, uuid, pathlib\n"
        "from metaflow_core.values import encode, decode, Stored\n"
        "for v in [None, True, 1, 2.5, 'a', b'x', [1, 2, {'a': (1, {2})}], 2**80, datetime.datetime.now(),\n"
        "          decimal.Decimal('1'), uuid.uuid4(), pathlib.Path('.'), list(range(500))]:\n"
        "    e = encode(v); f = io.BytesIO(); e.write and e.write(f)\n"
        "    s = Stored(e.type, 'python', e.encoding, '', e.size, e.scalar, lambda: memoryview(f.getvalue()))\n"
        "    assert decode(s) == v\n"
        "print([m for m in ('pyarrow', 'numpy', 'pandas', 'cloudpickle', 'pickle') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_values_of_different_types_have_different_fingerprints() -> None:
    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        (1,),
        {1},
        frozenset({1}),
        {1: 1},
        None,
        0.0,
        -0.0,
        "",
        [],
        [None],
        [[1]],
        [1.0],
        ["1"],
        [True],
        2**63,
        [2**63],
        decimal.Decimal(1),
        range(1),
        collections.OrderedDict({1: 1}),
        1 + 0j,
    ]
    prints = [encode(v).fingerprint for v in values]
    assert len(set(prints)) == len(values)


def test_the_order_of_a_dict_or_set_is_no_part_of_the_value_but_of_what_is_stored() -> None:
    one, two = encode({"a": 1, "b": [2]}), encode({"b": [2], "a": 1})
    assert one.fingerprint == two.fingerprint
    assert one.key != two.key
    ordered = collections.OrderedDict
    assert encode(ordered(a=1, b=2)).fingerprint != encode(ordered(b=2, a=1)).fingerprint
    assert list({8, 16}) != list({16, 8})  # they collide in the table, so that the order of insertion shows
    assert encode({8, 16}).fingerprint == encode({16, 8}).fingerprint


def test_every_nan_is_one_value_but_the_missing_number_of_r() -> None:
    def nan(payload: int) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", payload))[0])

    plain, negative, other = nan(0x7FF8000000000000), nan(0xFFF8000000000000), nan(0x7FF8000000000123)
    missing = nan(0x7FF00000000007A2)
    assert len({encode(v).fingerprint for v in (plain, negative, other)}) == 1
    assert len({encode([v] * 2000).fingerprint for v in (plain, negative, other)}) == 1
    assert len({encode([v] * 2000).key for v in (plain, negative, other)}) == 3
    assert encode([plain]).fingerprint != encode([missing]).fingerprint
    assert encode([plain] * 2000).fingerprint != encode([missing] * 2000).fingerprint


def test_the_fingerprint_does_not_depend_on_the_form_in_which_a_list_is_stored() -> None:
    from metaflow_core.values.fingerprint import fingerprint
    from metaflow_core.values.pack import pack
    from metaflow_core.values.python_tree import to_tree

    for value in (
        [1, None] * 50,
        [0.5, float("nan"), None] * 40,
        ["é", None] * 40,
        [True] * 80,
        [b"x", b""] * 40,
        [None] * 80,
        {"k": list(range(100))},
        set(range(100)),
        "x" * 5000,
        b"x" * 5000,
        (1.5,) * 100,
    ):
        tree = to_tree(value)
        assert fingerprint(pack(tree)) == fingerprint(tree), value


def test_the_fingerprints_of_version_1_never_change() -> None:
    """Computed by the rules of docs/artifact-format.md."""
    from blake3 import blake3

    def of(stream: bytes) -> str:
        return blake3(b"metaflow-value-1\n" + stream).hexdigest()

    def size(n: int) -> bytes:
        return n.to_bytes(8, "little")

    assert encode(None).fingerprint == of(b"n")
    assert encode(5).fingerprint == of(b"i" + size(5))
    assert encode("é").fingerprint == of(b"s" + size(2) + "é".encode())
    column = blake3(b"int\0" + size(2) + b"\0" + blake3(size(1) + size(2)).digest()).digest()
    assert encode([1, 2]).fingerprint == of(b"v" + column)
    assert encode([1, "a"]).fingerprint == of(b"l" + size(2) + b"i" + size(1) + b"s" + size(1) + b"a")
    pair = b"N" + size(5) + b"tuple" + size(2) + b"{}" + b"=" + b"v" + column + b";"
    assert encode((1, 2)).fingerprint == of(pair)


# --- opaque values ----------------------------------------------------------------------------------------------------


def test_what_has_no_neutral_form_is_pickled_and_says_what_it_is() -> None:
    encoded = encode(lambda: 41 + 1)
    assert encoded.type == "function"
    assert decode(store(encoded))() == 42
    big = encode(Plain("x" * 9000))
    assert (big.encoding, big.type) == ("opaque", f"{__name__}.Plain")
    assert decode(store(big)) == Plain("x" * 9000)


def test_opaque_values_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [store(encode(v)) for v in (Plain(1), Plain("x" * 9000), [1, Plain(2)])]
    typed = store(encode([1, 2]))
    monkeypatch.setenv("METAFLOW_OPAQUE_ARTIFACTS", "refuse")
    for stored in kept:
        with pytest.raises(UnreadableArtifact, match="METAFLOW_OPAQUE_ARTIFACTS=refuse"):
            decode(stored)
    assert decode(typed) == [1, 2]


def test_typed_values_never_unpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    typed = [v for v in VALUES if not isinstance(v, (Plain, Text, Flags, slice, type(...)))]
    typed = [v for v in typed if not (isinstance(v, dict) and "opaque" in v)]
    kept = [store(encode(v)) for v in typed]

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled")

    for module in (pickle, cloudpickle):
        monkeypatch.setattr(module, "loads", refuse)
        monkeypatch.setattr(module, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    for value, stored in zip(typed, kept, strict=True):
        assert decode(stored) == value


def test_a_class_that_is_not_loaded_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        name: store(encode(v)) for name, v in {"data": Point(1, 2), "enum": Colour.BLUE, "tuple": Pair(1, 2)}.items()
    }
    for name in ("Point", "Colour", "Pair"):
        monkeypatch.delattr(sys.modules[__name__], name)
    with pytest.warns(UserWarning, match="no such class is loaded"):
        assert decode(kept["data"]).x == 1
    with pytest.warns(UserWarning, match="Import"):
        assert decode(kept["enum"]) == "b"
    with pytest.warns(UserWarning):
        assert decode(kept["tuple"]) == (1, 2)


def test_reading_a_dataclass_runs_none_of_its_code() -> None:
    @dataclasses.dataclass
    class Loud:
        x: int

        def __post_init__(self) -> None:
            raise RuntimeError("ran")

    Loud.__qualname__ = "Loud"
    sys.modules[__name__].Loud = Loud  # type: ignore[attr-defined]
    made = object.__new__(Loud)
    made.x = 3
    assert roundtrip(made).x == 3


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), ""),
        ({"a": [1, 2, 3, Plain(threading.Lock())]}, "['a'][3].content"),
        ([(1, {"k": threading.Lock()})], "[0][1]['k']"),
        (Point(1, threading.Lock()), ".y"),
        (Plain({"deep": [Plain(threading.Lock())]}), ".content['deep'][0].content"),
    ],
)
def test_what_cant_be_stored_is_named_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(UnserializableValue) as caught:
        encode(value)
    assert caught.value.path == path
    assert path in str(caught.value)
    assert "lock" in str(caught.value)


def test_a_value_that_holds_itself_is_stored() -> None:
    value: list[Any] = [1]
    value.append(value)
    back = roundtrip(value)
    assert back[0] == 1
    assert back[1] is back


def test_deep_values_are_stored_or_refused() -> None:
    for depth in (200, 400, 100_000):
        value: list[Any] = []
        for _ in range(depth):
            value = [value]
        if depth < 1000:
            assert roundtrip(value) == value
        else:
            with pytest.raises(UnserializableValue, match="nested too deeply"):
                encode(value)


def test_values_of_another_language_are_handles_that_can_be_stored_again() -> None:
    model = OpaqueValue("julia", "jls", "lm", "y ~ x", b"RDS bytes")
    encoded = encode(model)
    back = decode(store(encoded))
    assert (back.language, back.type, back.summary, back.payload) == ("julia", "lm", "y ~ x", b"RDS bytes")
    assert encode(back).key == encoded.key
    assert roundtrip({"m": model, "n": 1})["m"] == model
    with pytest.raises(UnreadableArtifact, match="only julia can load it"):
        back.load()


def test_a_class_that_is_gone_says_so() -> None:
    class Gone:
        pass

    stored = store(encode(Plain("x" * 9000)))
    assert stored.read is not None
    broken = bytes(stored.read()).replace(__name__.encode(), b"z" * len(__name__))
    with pytest.raises(UnreadableArtifact, match="must be installed"):
        decode(Stored("x", "python", "opaque", "", len(broken), None, lambda: memoryview(broken)))


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [[1, "a"], list(range(5000)), Plain("x" * 9000), {"a": [1.5] * 3000, "b": "x" * 5000}]
)
def test_truncated_data_is_an_error_of_ours(value: Any) -> None:
    encoded, whole = encode(value), payload(value)
    for end in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
        with pytest.raises(UnreadableArtifact):
            decode(damaged(encoded, whole[:end]))
        short = store(encoded)
        short.read = lambda end=end: memoryview(whole[:end])  # type: ignore[misc]
        with pytest.raises(UnreadableArtifact, match="damaged"):
            decode(short)


@pytest.mark.parametrize(
    "text",
    [
        b'{"$":"nonsense"}',
        b'{"$":5}',
        b'{"$":"dict"}',
        b"nonsense",
        b'{"$":"enum","a":[]}',
        b'{"$":"datetime","v":"yesterday"}',
        b'{"$":"opaque","v":3}',
        b'{"$":"tuple","d":0}',
    ],
)
def test_json_that_is_no_value_is_an_error_of_ours(text: bytes) -> None:
    with pytest.raises(UnreadableArtifact):
        decode(Stored("dict", "python", "json", "", len(text), None, lambda: memoryview(text)))


def test_a_newer_format_asks_for_an_upgrade() -> None:
    data = payload(Plain("x" * 9000)).replace(b'"version":1', b'"version":2')
    with pytest.raises(UnreadableArtifact, match="Upgrade metaflow-tandem"):
        decode(damaged(encode(Plain("x" * 9000)), data))
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    schema = pa.schema([pa.field("x", pa.int64())], {b"metaflow": b'{"version":2}'})
    pa.ipc.new_file(sink, schema).close()
    newer = sink.getvalue().to_pybytes()
    with pytest.raises(UnreadableArtifact, match="Upgrade metaflow-tandem"):
        decode(damaged(encode(list(range(5000))), newer))
    with pytest.raises(UnreadableArtifact, match="not known here"):
        decode(Stored("x", "python", "hologram", "", 1, None, lambda: memoryview(b"x")))


# --- properties -------------------------------------------------------------------------------------------------------

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=20)
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
keys = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=3))
nested = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.sets(st.integers() | st.text(max_size=4), max_size=5)
        | st.lists(st.floats(allow_nan=False), min_size=60, max_size=100)
        | st.lists(st.none() | st.text(max_size=3), min_size=60, max_size=100)
    ),
    max_leaves=12,
)


def same_types(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return all(map(same_types, a, b))
    if isinstance(a, dict):
        return all(map(same_types, a, b)) and all(map(same_types, a.values(), b.values()))
    return True


@settings(max_examples=150, derandomize=True, deadline=None)
@given(nested)
def test_nested_values_come_back_and_keep_their_fingerprint(value: Any) -> None:
    encoded = encode(value)
    back = decode(store(encoded))
    assert back == value
    assert same_types(back, value)
    again = encode(back)
    assert again.fingerprint == encoded.fingerprint
    from metaflow_core.values.fingerprint import fingerprint
    from metaflow_core.values.pack import pack
    from metaflow_core.values.python_tree import to_tree

    assert fingerprint(pack(to_tree(value))) == encoded.fingerprint
