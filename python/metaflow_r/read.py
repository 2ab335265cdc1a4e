"""Trees to R values, whichever language made them, by reticulate's conventions. Executes nothing that is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metaflow_core.errors import UnreadableArtifact
from metaflow_core.values import losses
from metaflow_core.values.node import Node, Tree

from metaflow_r.sexp import (
    NULL,
    VECTORS,
    BoolSexpVector,
    FloatSexpVector,
    IntSexpVector,
    ListSexpVector,
    StrSexpVector,
    set_attribute,
)

_INT32 = range(-(2**31) + 1, 2**31)
_INT64 = range(-(2**63) + 1, 2**63)


def to_r(value: Any) -> Any:
    """The R value of a Python value."""
    from metaflow_core.values.python_tree import to_tree

    return from_tree(to_tree(value))


def from_tree(tree: Tree) -> Any:
    """The R value of a tree."""
    if tree is None:
        return NULL
    cls = type(tree)
    reader = _SCALARS.get(cls)
    if reader is not None:
        return reader(tree)
    if isinstance(tree, list):
        return _list(tree, None)
    assert isinstance(tree, Node)
    kind = _KINDS.get(tree.kind)
    if kind is not None:
        return kind(tree)
    return _foreign(tree)


# --- scalars ----------------------------------------------------------------------------------------------------------


def _int(value: Any) -> Any:
    if value in _INT32:
        return IntSexpVector([value])
    return _large([value])


def _large(values: list[Any]) -> Any:
    """Whole numbers beyond 32 bits, None for NA."""
    import numpy as np

    from metaflow_r.vectors import from_numbers, integer64

    missing = np.array([value is None for value in values])
    if all(value is None or value in _INT64 for value in values):
        return integer64(np.array([value or 0 for value in values], np.int64), missing if missing.any() else None)
    if any(value is not None and value not in _INT64 and not _is_exact(value) for value in values):
        losses.tell("whole numbers beyond 64 bits are read as numbers of R, which lose digits.")
    return from_numbers(np.array([_float(value or 0) for value in values]), missing if missing.any() else None)


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _is_exact(value: int) -> bool:
    return _float(value) == value


def _str(value: Any) -> Any:
    if "\0" in value:
        raise UnreadableArtifact("The artifact has text with NUL characters, which R has not. Store it as bytes.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnreadableArtifact("The artifact has text that is no valid Unicode, which R has not.") from None
    return StrSexpVector([value])


def _bytes(value: Any) -> Any:
    from metaflow_r.vectors import from_bytes

    return from_bytes(bytes(value))


_SCALARS: dict[type, Callable[[Any], Any]] = {
    float: lambda value: FloatSexpVector([value]),
    bool: lambda value: BoolSexpVector([value]),
    int: _int,
    str: _str,
    bytes: _bytes,
}


def _na(node: Node) -> Any:
    from metaflow_r import session

    type = str(node.attrs.get("type", "logical"))
    if type in ("POSIXct", "Date", "difftime", "hms", "integer64"):
        number = session.helper("typed_na")("integer" if node.layout.get("storage") == "integer" else "double")
        return _classed_time(number, type, node.layout, None)
    return session.helper("typed_na")(StrSexpVector([type]))


# --- lists ------------------------------------------------------------------------------------------------------------


def _list(items: list[Any], type: str | None) -> Any:
    """A list as an atomic vector when all elements are scalars of one type, else as a list."""
    if type is not None:
        return _vector(items, type)
    one = vector_type(items)
    if one is None:
        return ListSexpVector([from_tree(item) for item in items])
    if one is int and not all(item is None or item in _INT32 for item in items):
        return _large(items)
    return _vector(items, _OF_PYTHON[one]) if one in _OF_PYTHON else _moments(items)


def vector_type(items: list[Any]) -> Any:
    """What all elements of a list are, when the list is a vector in R: a type, or a kind of dates. None for a list."""
    types = set(map(_type_of, items))
    types.discard(type(None))
    one = next(iter(types)) if len(types) == 1 else None
    return one if one in _OF_PYTHON or one in ("date", "datetime", "time", "timedelta") else None


_OF_PYTHON: dict[Any, str] = {bool: "logical", int: "integer", float: "double", str: "character"}


def _type_of(item: Tree) -> Any:
    return item.kind if isinstance(item, Node) else type(item)


def _vector(items: list[Any], type: str) -> Any:
    """A vector of this type; None is NA."""
    from rpy2.rinterface import NA_Character, NA_Complex, NA_Integer, NA_Logical, NA_Real

    na = {"logical": NA_Logical, "integer": NA_Integer, "double": NA_Real, "character": NA_Character}.get(
        type, NA_Complex
    )
    if type == "character":
        for item in items:
            if item is not None:
                _str(item)
    return VECTORS[type]([na if item is None else item for item in items])


def _moments(items: list[Any]) -> Any:
    """Dates, or moments in one time zone, as a vector; a list when the zones differ."""
    present = [item for item in items if item is not None]
    if (
        present[0].kind == "datetime"
        and len({item.attrs.get("zone", item.attrs.get("offset")) for item in present}) > 1
    ):
        return ListSexpVector([from_tree(item) for item in items])
    from metaflow_r import session

    return session.helper("join_moments")(ListSexpVector([from_tree(item) for item in items]))


def items_of(tree: Any) -> list[Any]:
    """The elements of a list, however it is held, as trees."""
    if isinstance(tree, list):
        return tree
    if tree is None:
        return []
    if isinstance(tree, Node) and tree.data is not None:
        if tree.layout.get("cells") == "json":
            from metaflow_core.values.pack import cells

            return cells(tree.data)
        from metaflow_core.values.columns import to_list

        return to_list(tree.data)
    assert isinstance(tree, Node)
    return items_of(tree.value)


def _list_node(node: Node) -> Any:
    type = node.layout.get("type")
    if node.data is not None and node.layout.get("cells") != "json":
        from metaflow_r.read_arrow import vector

        return vector(node.data, node.layout)
    inner = node.value
    if isinstance(inner, Node) and inner.kind == "list" and type is None:
        return _list_node(inner)
    return _list(items_of(inner if node.data is None else node), type)


def _plain_list(node: Node) -> Any:
    """A tuple, a set, a deque: as a list."""
    return _list_node(Node("list", value=node.value, layout=node.layout, data=node.data))


def _dict(node: Node) -> Any:
    keys = items_of(node.fields["keys"])
    if not all(isinstance(key, str) for key in keys):
        losses.tell("keys that are no texts are names in R, as Python shows them.")
    keys = [_key(key) for key in keys]
    value = ListSexpVector([from_tree(item) for item in items_of(node.value)])
    return set_attribute(value, "names", StrSexpVector(keys))


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(_str(key)[0]) if key else ""
    if isinstance(key, Node):
        from metaflow_core.values.python_value import from_tree as python_value

        return str(python_value(key))
    return str(key)


_FAILURE = "metaflow_core.wrapped_error:MetaflowExceptionWrapper"  # what @catch stores: a condition in R


def _fields(node: Node) -> Any:
    """A dataclass or a named tuple: as a named list."""
    value = ListSexpVector([from_tree(item) for item in items_of(node.value)])
    set_attribute(value, "names", StrSexpVector([str(name) for name in node.attrs["fields"]]))
    if node.attrs.get("class") == _FAILURE:
        from metaflow_r import session

        return session.helper("as_exception")(value)
    return value


def _range(node: Node) -> Any:
    values: Any = node.value
    return _list(list(range(*values)), "integer" if all(v in _INT32 for v in values) else None)


def _attributes(value: Any, node: Node, prefix: str = "", skip: tuple[str, ...] = ()) -> Any:
    """Set the attributes that a node has as fields."""
    names = [name for name in node.fields if name.startswith(prefix) and name not in skip]
    if not names:
        return value
    from metaflow_r import session

    parts = ListSexpVector([from_tree(node.fields[name]) for name in names])
    shown = StrSexpVector([name.removeprefix(prefix) for name in names])
    return session.helper("with_attributes")(value, set_attribute(parts, "names", shown))


def _r_vector(node: Node) -> Any:
    type = str(node.attrs["type"])
    if node.data is not None:
        from metaflow_r.read_arrow import vector

        value = vector(node.data, {**node.layout, "type": type})
    elif type == "raw":
        value = from_tree(node.value if node.value is not None else b"")
    else:
        items = items_of(node.value)
        if isinstance(node.value, Node) and node.value.data is not None:
            from metaflow_r.read_arrow import vector

            value = vector(node.value.data, {"type": type})
        else:
            value = _vector(items, type)
    return _attributes(value, node)


def _r_list(node: Node) -> Any:
    return _attributes(ListSexpVector([from_tree(item) for item in items_of(node.value)]), node)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _complex(node: Node) -> Any:
    parts: Any = node.value
    return VECTORS["complex"]([complex(*parts)])


def _whole(node: Node) -> Any:
    """A bare scalar with a layout, or held as data."""
    if node.data is not None:
        value: Any = items_of(node)[0]
    else:
        value = node.value
    if node.layout.get("type") == "integer64":
        import numpy as np

        from metaflow_r.vectors import integer64

        return integer64(np.array([value], np.int64))
    return from_tree(value)


def _numpy_scalar(node: Node) -> Any:
    dtype, value = str(node.attrs["dtype"]), node.value
    if dtype.startswith(("datetime64", "timedelta64")):
        import numpy as np

        from metaflow_r.read_arrow import numpy_array

        return numpy_array(np.array(value, np.int64).view(dtype))
    if dtype.startswith("complex"):
        return _complex(node)
    return from_tree(value)


def _date(node: Node) -> Any:
    import datetime as dt

    days = (dt.date.fromisoformat(str(node.value)) - dt.date(1970, 1, 1)).days
    number = IntSexpVector([days]) if node.layout.get("storage") == "integer" else FloatSexpVector([float(days)])
    return _classed_time(number, "Date", node.layout, None)


def _datetime(node: Node) -> Any:
    import datetime as dt

    from metaflow_core.values.python_datetime import read_zone

    zone = read_zone(node) or dt.timezone.utc
    moment = dt.datetime.fromisoformat(str(node.value)).replace(tzinfo=zone, fold=node.attrs.get("fold", 0))
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    if "nanoseconds" in node.layout:
        ticks, unit = int(node.layout["nanoseconds"]), "ns"
    else:
        ticks, unit = (since.days * 86400 + since.seconds) * 10**6 + since.microseconds, "us"
    import numpy as np

    from metaflow_r.times import seconds_of

    seconds = float(seconds_of(np.int64(ticks), unit))
    number = IntSexpVector([int(seconds)]) if node.layout.get("storage") == "integer" else FloatSexpVector([seconds])
    return _classed_time(number, "POSIXct", node.layout, _zone_name(node))


def _zone_name(node: Node) -> str:
    if "zone" in node.attrs:
        return str(node.attrs["zone"])
    return zone_of_offset(node.attrs.get("offset", 0) // 60_000_000)


def zone_of_offset(minutes: int) -> str:
    """The time zone in R that is so many minutes east of UTC."""
    if minutes % 60:
        losses.tell("R has no time zone for an offset that is no whole number of hours: the moment is given in UTC.")
        return "UTC"
    return f"Etc/GMT{-(minutes // 60):+d}" if minutes else "UTC"


def _time(node: Node) -> Any:
    import datetime as dt

    time = dt.time.fromisoformat(str(node.value))
    seconds = time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 10**6
    number = IntSexpVector([int(seconds)]) if node.layout.get("storage") == "integer" else FloatSexpVector([seconds])
    return _classed_time(number, "hms", node.layout, None)


def _timedelta(node: Node) -> Any:
    import numpy as np

    from metaflow_r.times import SECONDS, amounts_of

    units = str(node.layout.get("units", "secs"))
    ticks: Any = node.value
    amount = ticks / (SECONDS[units] * 10**6)
    if -(2**63) <= ticks < 2**63:
        amount = float(amounts_of(np.int64(ticks), SECONDS[units] * 10**6))
    number = IntSexpVector([int(amount)]) if node.layout.get("storage") == "integer" else FloatSexpVector([amount])
    return _classed_time(number, "difftime", {"units": units}, None)


def _classed_time(number: Any, type: str, layout: dict[str, Any], zone: str | None) -> Any:
    from metaflow_r.read_arrow import classed_time

    return classed_time(number, type, layout, zone)


def _text(node: Node) -> Any:
    return from_tree(node.value)


def _decimal(node: Node) -> Any:
    from decimal import Decimal

    exact = Decimal(str(node.value))
    tell_decimals([exact])
    return FloatSexpVector([float(exact)])


def tell_decimals(values: list[Any]) -> None:
    """Tell of decimal numbers that doubles do not hold."""
    if any(one.is_finite() and len(one.as_tuple().digits) > 15 and type(one)(float(one)) != one for one in values):
        losses.tell("decimal numbers of more than 15 digits are read as numbers of R, which lose digits.")


def _enum(node: Node) -> Any:
    return from_tree(node.value) if node.value is not None else from_tree(str(node.attrs["name"]))


def _opaque(node: Node) -> Any:
    from metaflow_core.values.opaque import check_allowed

    from metaflow_r import session

    facts = {name: str(node.attrs[name]) for name in ("language", "codec", "type")}
    payload = node.value if isinstance(node.value, bytes) else bytes(items_of(node.value)[0])
    check_allowed(facts["language"], facts["type"])
    if facts["language"] == "r":
        if facts["codec"] != "rds":
            raise UnreadableArtifact(
                f"This {facts['type']} is stored by the codec {facts['codec']!r}. Upgrade metaflow-tandem."
            )
        outcome = session.helper("try_call")(session.helper("unserialize_value"), _bytes(payload))
        if len(outcome) == 1:
            raise UnreadableArtifact(
                f"This {facts['type']} can't be loaded: {outcome[0][0]}. It is an object of R, whose packages must be "
                f"installed, in versions that still fit it."
            )
        return outcome[1]
    texts = {**facts, "summary": str(node.layout.get("summary", ""))}
    parts = {name: StrSexpVector([text]) for name, text in texts.items()}
    from metaflow_r.sexp import named_list

    return set_attribute(named_list({**parts, "payload": _bytes(payload)}), "class", StrSexpVector(["metaflow_opaque"]))


def _sparse(node: Node) -> Any:
    from metaflow_r.sparse import from_node

    return from_node(node)


def _arrow(name: str) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        from metaflow_r import read_arrow

        return getattr(read_arrow, name)(node)

    return read


def _foreign(node: Node) -> Any:
    """A kind that only a plugin knows: what Python makes of it, if that has a neutral form."""
    from metaflow_core.values.python_tree import to_tree
    from metaflow_core.values.python_value import from_tree as python_value

    value = python_value(node)
    for plain in (getattr(value, "to_numpy", None), getattr(value, "numpy", None), getattr(value, "tolist", None)):
        if plain is not None:
            return from_tree(to_tree(plain()))
    tree = to_tree(value)
    if isinstance(tree, Node) and tree.kind == node.kind:
        return from_tree(str(value))
    return from_tree(tree)


_KINDS: dict[str, Callable[[Node], Any]] = {
    "na": _na,
    "list": _list_node,
    "tuple": _plain_list,
    "set": _plain_list,
    "frozenset": _plain_list,
    "deque": _plain_list,
    "dict": _dict,
    "ordereddict": _dict,
    "defaultdict": _dict,
    "counter": _dict,
    "dataclass": _fields,
    "namedtuple": _fields,
    "range": _range,
    "complex": _complex,
    "bool": _whole,
    "int": _whole,
    "float": _whole,
    "str": _whole,
    "bytes": _whole,
    "null": lambda node: NULL,
    "bytearray": lambda node: _bytes(node.value if isinstance(node.value, bytes) else items_of(node.value)[0]),
    "numpy.scalar": _numpy_scalar,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "timedelta": _timedelta,
    "timezone": lambda node: from_tree(_zone_name(node)),
    "decimal": _decimal,
    "uuid": _text,
    "path": _text,
    "enum": _enum,
    "r.vector": _r_vector,
    "r.list": _r_list,
    "opaque": _opaque,
    "sparse": _sparse,
    "ndarray": _arrow("ndarray"),
    "categorical": _arrow("categorical"),
    "dataframe": _arrow("dataframe"),
    "polars.frame": _arrow("dataframe"),
    "arrow.table": _arrow("dataframe"),
    "arrow.batch": _arrow("dataframe"),
    "series": _arrow("series"),
    "polars.series": _arrow("series"),
    "index": _arrow("index"),
    "multiindex": _arrow("multiindex"),
    "pandas.array": _arrow("pandas_array"),
    "pandas.scalar": _arrow("pandas_scalar"),
    "column": _arrow("column"),
    "arrow.array": _arrow("arrow_array"),
    "arrow.chunked": _arrow("arrow_array"),
    "arrow.scalar": _arrow("arrow_array"),
}
attributes_of = _attributes
