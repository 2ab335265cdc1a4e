"""Every type of value, as each language writes it: what the other one makes of it, and what comes back from there.

A row of ``PYTHON`` is an expression in Python, and one in R that is identical to what R reads. A row of ``R`` is an
expression in R, and one in Python that equals what Python reads. ``back`` is what the first language reads after the
other one has written the value anew; without it, that is the value itself. ``equal`` says whether the two expressions
have one fingerprint, so that ``merge_artifacts`` takes them for the same value.

An expression in R that is a function is a question about the value.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from typing import Any


class Color(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: float


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Row:
    """One value: ``source`` writes it, ``other`` is what the other language reads."""

    source: str
    other: str
    back: str | None = None
    equal: bool = True
    warns: str = ""  # what the reader tells of
    frozen: bool = True  # whether R's way to write it stands in the fixtures
    stable: bool = True  # whether what was read is stored under the same key again


def row(source: str, other: str, back: str | None = None, **facts: Any) -> Row:
    return Row(source, other, back, **facts)


PYTHON = [
    # --- scalars
    row("None", "NULL"),
    row("True", "TRUE"),
    row("-5", "-5L"),
    row("2**31 - 1", "2147483647L"),
    row("-(2**31)", "bit64::as.integer64('-2147483648')"),
    row("2**31", "bit64::as.integer64('2147483648')"),
    row("2**53 + 1", "bit64::as.integer64('9007199254740993')"),
    row("2**63 - 1", "bit64::as.integer64('9223372036854775807')"),
    row("-(2**63)", "-2^63", "-(2.0**63)", equal=False),
    row("2**64 + 1", "2^64", "2.0**64", equal=False, warns="beyond 64 bits"),
    row("10**400", "Inf", "math.inf", equal=False, warns="beyond 64 bits"),
    row("0.1", "0.1"),
    row("-0.0", "-0"),
    row("math.inf", "Inf"),
    row("-math.inf", "-Inf"),
    row("math.nan", "NaN"),
    row("5e-324", "4.9406564584124654e-324"),
    row("1 - 2j", "complex(real = 1, imaginary = -2)"),
    row("complex(math.nan, 0)", "complex(real = NaN, imaginary = 0)"),
    row("''", "''"),
    row("'naïve 中 🦆'", "'na\\u00efve \\u4e2d \\U0001f986'"),
    row("'x' * 10000", "strrep('x', 10000)"),
    row("b''", "raw(0)"),
    row("bytes(range(256))", "as.raw(0:255)"),
    row("bytearray(b'ab')", "as.raw(c(0x61, 0x62))", "b'ab'", equal=False),
    # --- dates and times
    row("dt.date(2024, 2, 29)", "as.Date('2024-02-29')"),
    row("dt.date(1, 1, 1)", "as.Date('0001-01-01')"),
    row(
        "dt.datetime(2024, 3, 31, 12, 30, 1, 250000, tzinfo=dt.timezone.utc)",
        "as.POSIXct('2024-03-31 12:30:01.25', tz = 'UTC')",
    ),
    row(
        "dt.datetime(2024, 3, 31, 12, 30, tzinfo=ZoneInfo('Europe/Paris'))",
        "as.POSIXct('2024-03-31 12:30:00', tz = 'Europe/Paris')",
    ),
    row(
        "dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo('Europe/Paris'), fold=1)",
        "structure(1729992600, class = c('POSIXct', 'POSIXt'), tzone = 'Europe/Paris')",
    ),
    row(
        "dt.datetime(2024, 3, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))",
        "as.POSIXct('2024-03-31 12:00:00', tz = 'Etc/GMT-2')",
        "dt.datetime(2024, 3, 31, 12, tzinfo=ZoneInfo('Etc/GMT-2'))",
        equal=False,
    ),
    row(
        "dt.datetime(2024, 3, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))",
        "as.POSIXct('2024-03-31 06:30:00', tz = 'UTC')",
        "dt.datetime(2024, 3, 31, 6, 30, tzinfo=dt.timezone.utc)",
        equal=False,
        warns="no time zone",
    ),
    row(
        "dt.datetime(2024, 3, 31, 12)",
        "as.POSIXct('2024-03-31 12:00:00', tz = 'UTC')",
        "dt.datetime(2024, 3, 31, 12, tzinfo=dt.timezone.utc)",
        equal=False,
    ),
    row("dt.time(1, 2, 3, 500000)", "structure(3723.5, class = c('hms', 'difftime'), units = 'secs')"),
    row("dt.timedelta(minutes=5)", "as.difftime(300, units = 'secs')"),
    row("dt.timedelta(days=-1, microseconds=1)", "as.difftime(-86399.999999, units = 'secs')"),
    row("dt.timezone.utc", "'UTC'", "'UTC'", equal=False),
    row("ZoneInfo('Asia/Tokyo')", "'Asia/Tokyo'", "'Asia/Tokyo'", equal=False),
    row(
        "pd.Timestamp('2024-03-31 12:00', tz='UTC')",
        "as.POSIXct('2024-03-31 12:00:00', tz = 'UTC')",
        "dt.datetime(2024, 3, 31, 12, tzinfo=dt.timezone.utc)",
        equal=False,
    ),
    row("pd.Timedelta(minutes=2)", "as.difftime(120, units = 'secs')", "dt.timedelta(minutes=2)", equal=False),
    row("pd.NaT", "as.POSIXct(NA_real_, tz = 'UTC')", "None", equal=False),
    row("pd.NA", "NA", "None", equal=False),
    # --- types of the standard library
    row("decimal.Decimal('1.10')", "1.1", "1.1", equal=False),
    row(
        "decimal.Decimal('0.1234567890123456789')",
        "0.1234567890123456789",
        "0.12345678901234568",
        equal=False,
        warns="more than 15 digits",
    ),
    row("decimal.Decimal('NaN')", "NaN", "math.nan", equal=False),
    row(
        "uuid.UUID(int=7)",
        "'00000000-0000-0000-0000-000000000007'",
        "'00000000-0000-0000-0000-000000000007'",
        equal=False,
    ),
    row("pathlib.PurePosixPath('a/b')", "'a/b'", "'a/b'", equal=False),
    row("Color.RED", "'red'", "'red'", equal=False),
    row("Color.DEEP", "'DEEP'", "'DEEP'", equal=False),
    row("Level.HIGH", "3L", "3", equal=False),
    row("Point(1, 2.5)", "list(x = 1L, y = 2.5)", "{'x': 1, 'y': 2.5}", equal=False),
    row("Pair('a', None)", "list(left = 'a', right = NULL)", "{'left': 'a', 'right': None}", equal=False),
    row("collections.OrderedDict(b=1, a=2)", "list(b = 1L, a = 2L)", "{'b': 1, 'a': 2}", equal=False),
    row("collections.Counter('aab')", "list(a = 2L, b = 1L)", "{'a': 2, 'b': 1}", equal=False),
    row("collections.defaultdict(list, a=[1, 2])", "list(a = 1:2)", "{'a': [1, 2]}", equal=False),
    row("collections.deque([1, 2], maxlen=3)", "1:2", "[1, 2]", equal=False),
    # --- lists, tuples, sets
    row("[]", "list()"),
    row("[1, 2, 3]", "1:3"),
    row("[1, None, 3]", "c(1L, NA, 3L)"),
    row("[1.5, None, math.nan]", "c(1.5, NA, NaN)"),
    row("[True, None]", "c(TRUE, NA)"),
    row("['a', None, 'é']", "c('a', NA, '\\u00e9')"),
    row("[2**40, None]", "bit64::as.integer64(c('1099511627776', NA))"),
    row("[2**70, 1]", "c(2^70, 1)", "[2.0**70, 1.0]", equal=False),
    row("[2**70 + 1, 1]", "c(2^70, 1)", "[2.0**70, 1.0]", equal=False, warns="beyond 64 bits"),
    row("[None, None]", "list(NULL, NULL)"),
    row("[1, 2.5]", "list(1L, 2.5)"),
    row("[1, 'a', [True, None], {'b': 2.5}]", "list(1L, 'a', c(TRUE, NA), list(b = 2.5))"),
    row("[[1, 2], [3, 4]]", "list(1:2, 3:4)"),
    row("[[], {}]", "list(list(), setNames(list(), character()))"),
    row("[b'a', b'']", "list(as.raw(0x61), raw(0))"),
    row("[1 + 1j, 2j]", "list(1+1i, 2i)"),
    row("[1.0]", "1", "1.0", equal=False),
    row("list(range(1000))", "0:999"),
    row("[i / 2 for i in range(1000)]", "0:999 / 2"),
    row("[None, *map(str, range(1000))]", "c(NA, as.character(0:999))"),
    row("[True, None] * 500", "rep(c(TRUE, NA), 500)"),
    row("[None] * 200", "vector('list', 200)"),
    row("[[i] * 2 for i in range(300)]", "lapply(0:299, function(i) c(i, i))"),
    row("[b'xyz'] * 100", "rep(list(charToRaw('xyz')), 100)"),
    row("[dt.date(2024, 1, 1), None]", "as.Date(c('2024-01-01', NA))", equal=False),
    row(
        "[dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)] * 2",
        "rep(as.POSIXct('2024-01-01', tz = 'UTC'), 2)",
        equal=False,
    ),
    row("(1, 'a')", "list(1L, 'a')", "[1, 'a']", equal=False),
    row("(1, 2)", "1:2", "[1, 2]", equal=False),
    row("()", "list()", "[]", equal=False),
    row("{3}", "3L", "3", equal=False),
    row("frozenset({'x'})", "'x'", "'x'", equal=False),
    row("range(1, 10, 2)", "c(1L, 3L, 5L, 7L, 9L)", "[1, 3, 5, 7, 9]", equal=False),
    row("range(0)", "integer(0)", "[]", equal=False),
    # --- dicts
    row("{}", "setNames(list(), character())"),
    row("{'a': 1, 'b': 'x', 'c': None}", "list(a = 1L, b = 'x', c = NULL)"),
    row("{'b': {'c': [1, 2]}, 'a': [{'d': 1.5}]}", "list(b = list(c = 1:2), a = list(list(d = 1.5)))"),
    row("{'$': 1, 'é': 2}", "structure(list(1L, 2L), names = c('$', '\\u00e9'))"),
    row("{'': 1, 'a': 2}", "structure(list(1L, 2L), names = c('', 'a'))", "[1, 2]", equal=False),
    row(
        "{1: 'a', (1, 2): 'b', None: 'c', 2.5: 'd', True: 'e'}",
        "list(`1` = 'e', `(1, 2)` = 'b', `None` = 'c', `2.5` = 'd')",
        "{'1': 'e', '(1, 2)': 'b', 'None': 'c', '2.5': 'd'}",
        equal=False,
        warns="keys",
    ),
    row("{dt.date(2024, 1, 1): 1}", "list(`2024-01-01` = 1L)", "{'2024-01-01': 1}", equal=False, warns="keys"),
    row("{str(i): i for i in range(500)}", "setNames(as.list(0:499), 0:499)"),
    # --- numpy scalars
    row("np.int8(-3)", "-3L", "-3"),
    row("np.uint64(2**64 - 1)", "2^64", "2.0**64", equal=False, warns="beyond"),
    row("np.int64(2**40)", "bit64::as.integer64('1099511627776')", "2**40"),
    row("np.float16(0.5)", "0.5", "0.5", equal=False),
    row("np.float32(0.1)", "0.10000000149011612", "0.10000000149011612", equal=False),
    row("np.float64(0.1)", "0.1", "0.1"),
    row("np.bool_(True)", "TRUE", "True"),
    row("np.str_('a')", "'a'", "'a'"),
    row("np.bytes_(b'a')", "as.raw(0x61)", "b'a'", equal=False),
    row("np.complex64(1j)", "1i", "1j", equal=False),
    row("np.datetime64('2020-01-01')", "as.Date('2020-01-01')", "dt.date(2020, 1, 1)", equal=False),
    row(
        "np.datetime64('2020-01-01T12:00:00')",
        "as.POSIXct('2020-01-01 12:00:00', tz = 'UTC')",
        "dt.datetime(2020, 1, 1, 12, tzinfo=dt.timezone.utc)",
        equal=False,
    ),
    row("np.datetime64('NaT', 's')", "as.POSIXct(NA_real_, tz = 'UTC')", "None", equal=False),
    row("np.timedelta64(90, 'm')", "as.difftime(5400, units = 'secs')", "dt.timedelta(minutes=90)", equal=False),
    # --- numpy arrays
    row("np.arange(6.0).reshape(2, 3)", "rbind(c(0, 1, 2), c(3, 4, 5))"),
    row("np.asfortranarray(np.arange(6.0).reshape(2, 3))", "rbind(c(0, 1, 2), c(3, 4, 5))"),
    row("np.arange(6, dtype='i4').reshape(2, 3)", "rbind(0:2, 3:5)"),
    row("np.arange(6).reshape(2, 3)", "rbind(0:2, 3:5)", "np.arange(6, dtype='i4').reshape(2, 3)"),
    row("np.arange(6, dtype='u1').reshape(2, 3)", "rbind(0:2, 3:5)", "np.arange(6, dtype='i4').reshape(2, 3)"),
    row("np.array([[2**40, 1]])", "structure(bit64::as.integer64(c('1099511627776', '1')), dim = 1:2)", equal=False),
    row("np.array([[True], [False]])", "matrix(c(TRUE, FALSE))"),
    row("np.array([[1j, 2]])", "matrix(c(1i, 2), 1)"),
    row("np.array([[1.5, np.nan]])", "matrix(c(1.5, NaN), 1)"),
    row("np.arange(24.0).reshape(2, 3, 4)", "aperm(array(as.numeric(0:23), c(4, 3, 2)))"),
    row("np.arange(16.0).reshape(2, 2, 2, 2)", "aperm(array(as.numeric(0:15), c(2, 2, 2, 2)))"),
    row("np.zeros((0, 3))", "matrix(numeric(), 0, 3)"),
    row("np.zeros((2, 0, 3), 'i4')", "array(integer(), c(2, 0, 3))"),
    row("np.arange(3)", "0:2", "[0, 1, 2]", equal=False),
    row("np.arange(3.0)[::2]", "c(0, 2)", "[0.0, 2.0]", equal=False),
    row("np.array([])", "numeric(0)", "[]", equal=False),
    row("np.array(1.5)", "1.5", "1.5", equal=False),
    row("np.array([1.5], 'f4')", "1.5", "1.5", equal=False),
    row("np.array([1, 2], '>i4')", "1:2", "[1, 2]", equal=False),
    row("np.array([0.5], 'f2')", "0.5", "0.5", equal=False),
    row("np.array([2**40, -1])", "bit64::as.integer64(c('1099511627776', '-1'))", "[2**40, -1]", equal=False),
    row("np.array([-(2**63), 1])", "c(-2^63, 1)", "[-(2.0**63), 1.0]", equal=False, warns="2\\^53"),
    row("np.array([2**64 - 1, 1], 'u8')", "c(2^64, 1)", "[2.0**64, 1.0]", equal=False, warns="2\\^53"),
    row("np.array(['a', 'é'])", "c('a', '\\u00e9')", "['a', 'é']", equal=False),
    row(
        "np.array([['a', 'b'], ['c', 'd']])",
        "rbind(c('a', 'b'), c('c', 'd'))",
        "np.array([['a', 'b'], ['c', 'd']], object)",
        equal=False,
    ),
    row("np.array([b'ab', b'c'])", "c('ab', 'c')", "['ab', 'c']", equal=False),
    row(
        "np.array(['2020-01-01', 'NaT'], 'M8[D]')",
        "as.Date(c('2020-01-01', NA))",
        "[dt.date(2020, 1, 1), None]",
        equal=False,
    ),
    row(
        "np.array(['2020-01-01T12:00', 'NaT'], 'M8[ns]')",
        "as.POSIXct(c('2020-01-01 12:00', NA), tz = 'UTC')",
        "[dt.datetime(2020, 1, 1, 12, tzinfo=ZoneInfo('UTC')), None]",
        equal=False,
    ),
    row(
        "np.array([60, 'NaT'], 'm8[s]')",
        "as.difftime(c(60, NA), units = 'secs')",
        "[dt.timedelta(minutes=1), None]",
        equal=False,
    ),
    row("np.array([None, 'a', 1], object)", "list(NULL, 'a', 1L)", "[None, 'a', 1]", equal=False),
    row("np.array([[1, 'a'], [None, 2.5]], object)", "matrix(list(1L, NULL, 'a', 2.5), 2)", equal=False),
    row(
        "np.array([(1, 2.5), (3, 4.5)], [('a', 'i4'), ('b', 'f8')])",
        "data.frame(a = c(1L, 3L), b = c(2.5, 4.5))",
        "pd.DataFrame({'a': np.array([1, 3], 'i4'), 'b': [2.5, 4.5]})",
        equal=False,
    ),
    # --- pandas
    row(
        "pd.DataFrame({'i': np.array([1, 2], 'i4'), 'x': [1.5, np.nan], 'b': [True, False]})",
        "data.frame(i = 1:2, x = c(1.5, NaN), b = c(TRUE, FALSE))",
    ),
    row("pd.DataFrame({'i': [1, 2]})", "data.frame(i = 1:2)", "pd.DataFrame({'i': np.array([1, 2], 'i4')})"),
    row("pd.DataFrame({'s': ['a', None, 'é']})", "data.frame(s = c('a', NA, '\\u00e9'))"),
    row(
        "pd.DataFrame({'n': pd.array([1, None], 'Int32'), 'b': pd.array([True, None], 'boolean')})",
        "data.frame(n = c(1L, NA), b = c(TRUE, NA))",
    ),
    row(
        "pd.DataFrame({'f': pd.array([1.5, None], 'Float64')})",
        "data.frame(f = c(1.5, NA))",
        "pd.DataFrame({'f': [1.5, np.nan]})",
        stable=False,
    ),
    row("pd.DataFrame({'big': [2**40, 1]})", "data.frame(big = bit64::as.integer64(c('1099511627776', '1')))"),
    row(
        "pd.DataFrame({'c': pd.Categorical(['u', None, 'v'], ['v', 'u'])})",
        "data.frame(c = factor(c('u', NA, 'v'), levels = c('v', 'u')))",
    ),
    row(
        "pd.DataFrame({'c': pd.Categorical(['lo'], ['lo', 'hi'], ordered=True)})",
        "data.frame(c = factor('lo', levels = c('lo', 'hi'), ordered = TRUE))",
    ),
    row(
        "pd.DataFrame({'t': pd.to_datetime(['2024-01-01 10:00', None]).tz_localize('Europe/Paris').as_unit('us')})",
        "data.frame(t = as.POSIXct(c('2024-01-01 10:00', NA), tz = 'Europe/Paris'))",
    ),
    row(
        "pd.DataFrame({'t': pd.to_datetime(['2024-01-01 10:00'])})",
        "data.frame(t = as.POSIXct('2024-01-01 10:00', tz = 'UTC'))",
        "pd.DataFrame({'t': pd.to_datetime(['2024-01-01 10:00']).tz_localize('UTC').as_unit('us')})",
        equal=False,
    ),
    row(
        "pd.DataFrame({'d': pd.to_timedelta([60, None], unit='s').as_unit('us')})",
        "data.frame(d = as.difftime(c(60, NA), units = 'secs'))",
    ),
    row("pd.DataFrame({'z': [1j, 2]})", "data.frame(z = c(1i, 2))"),
    row(
        "pd.DataFrame({'o': [[1, 2], 'a', None]})",
        "structure(list(o = list(1:2, 'a', NULL)), class = 'data.frame', row.names = 1:3)",
    ),
    row(
        "pd.DataFrame({'v': [np.array([1.0, 2.0]), np.array([3.0])]})",
        "structure(list(v = list(c(1, 2), 3)), class = 'data.frame', row.names = 1:2)",
        "pd.DataFrame({'v': [[1.0, 2.0], 3.0]})",
        equal=False,
    ),
    row(
        "pd.DataFrame({'p': pd.period_range('2024-01', periods=2, freq='M')})",
        "data.frame(p = c('2024-01', '2024-02'))",
        "pd.DataFrame({'p': ['2024-01', '2024-02']})",
        equal=False,
    ),
    row("pd.DataFrame()", "data.frame()"),
    row("pd.DataFrame(index=range(3))", "data.frame(row.names = 1:3)"),
    row(
        "pd.DataFrame({'i': np.array([], 'i4'), 's': pd.array([], 'str')})",
        "data.frame(i = integer(), s = character())",
    ),
    row("pd.DataFrame({'x': [1.5, 2.5]}, index=['a', 'b'])", "data.frame(x = c(1.5, 2.5), row.names = c('a', 'b'))"),
    row(
        "pd.DataFrame({'x': [1.5, 2.5]}, index=[3, 1])",
        "structure(list(x = c(1.5, 2.5)), class = 'data.frame', row.names = c(3L, 1L))",
        "pd.DataFrame({'x': [1.5, 2.5]}, index=np.array([3, 1], 'i4'))",
    ),
    row("pd.DataFrame([[1.5, 2.5]], columns=['a', 'a'])", "setNames(data.frame(1.5, 2.5), c('a', 'a'))"),
    row(
        "pd.DataFrame([[1.5, 2.5]], columns=[1, 'a'])",
        "setNames(data.frame(1.5, 2.5), c('1', 'a'))",
        "pd.DataFrame([[1.5, 2.5]], columns=['1', 'a'])",
        equal=False,
    ),
    row(
        "pd.DataFrame({'x': [1.5, 2.5]}, index=pd.MultiIndex.from_tuples([('a', 1), ('b', 2)], names=['p', 'q']))",
        "structure(data.frame(x = c(1.5, 2.5)), pandas.index = data.frame(p = c('a', 'b'), q = 1:2))",
        equal=False,
    ),
    row(
        "pd.DataFrame({'x': [1.5, 2.5]}, index=pd.Index([3, 1], name='id'))",
        "structure(list(x = c(1.5, 2.5)), pandas.index.name = 'id', class = 'data.frame', row.names = c(3L, 1L))",
        equal=False,
    ),
    row(
        "with_attrs(pd.DataFrame({'x': [1.5]}), {'unit': 'cm'})",
        "structure(data.frame(x = 1.5), pandas.attrs = list(unit = 'cm'))",
        equal=False,
    ),
    row("pd.Series([1.5, 2.5], name='s')", "c(1.5, 2.5)", "[1.5, 2.5]", equal=False),
    row("pd.Series([1.5, 2.5], index=['a', 'b'])", "c(a = 1.5, b = 2.5)", "{'a': 1.5, 'b': 2.5}", equal=False),
    row("pd.Series(['a', None])", "c('a', NA)", "['a', None]", equal=False),
    row("pd.Series(pd.Categorical(['u', 'v']))", "factor(c('u', 'v'))", "pd.Categorical(['u', 'v'])", equal=False),
    row("pd.Index(['a', 'b'])", "c('a', 'b')", "['a', 'b']", equal=False),
    row("pd.RangeIndex(1, 4)", "1:3", "[1, 2, 3]", equal=False),
    row(
        "pd.MultiIndex.from_tuples([('a', 1), ('b', 2)], names=['p', None])",
        "data.frame(p = c('a', 'b'), level_1 = 1:2)",
        "pd.DataFrame({'p': ['a', 'b'], 'level_1': np.array([1, 2], 'i4')})",
        equal=False,
    ),
    row("pd.Categorical(['u', None, 'v'])", "factor(c('u', NA, 'v'))"),
    row("pd.Categorical(['u', 'v'], ['v', 'u'], ordered=True)", "factor(c('u', 'v'), c('v', 'u'), ordered = TRUE)"),
    row("pd.Categorical([3, 1])", "factor(c(3, 1))", "pd.Categorical(['3', '1'])", equal=False),
    row("pd.array([1, None], 'Int64')", "c(1L, NA)", "[1, None]", equal=False),
    row(
        "pd.interval_range(0, 2)",
        "data.frame(left = 0:1, right = 1:2)",
        "pd.DataFrame({'left': np.array([0, 1], 'i4'), 'right': np.array([1, 2], 'i4')})",
        equal=False,
    ),
    # --- polars, Arrow, scipy
    row(
        "pl.DataFrame({'x': [1, None], 's': ['a', 'b']})",
        "data.frame(x = c(1L, NA), s = c('a', 'b'))",
        "pd.DataFrame({'x': pd.array([1, None], 'Int32'), 's': ['a', 'b']})",
        equal=False,
    ),
    row(
        "pl.DataFrame({'l': [[1, 2], [3]], 'd': [dt.date(2024, 1, 1), None]})",
        "structure(list(l = list(1:2, 3L), d = as.Date(c('2024-01-01', NA))), class = 'data.frame', row.names = 1:2)",
        "pd.DataFrame({'l': [[1, 2], 3], 'd': [dt.date(2024, 1, 1), None]})",
        equal=False,
    ),
    row("pl.Series('s', [1.5, None])", "c(1.5, NA)", "[1.5, None]", equal=False),
    row(
        "pa.table({'x': [1, None], 'd': pa.array(['u', 'v']).dictionary_encode()})",
        "data.frame(x = c(1L, NA), d = factor(c('u', 'v')))",
        "pd.DataFrame({'x': pd.array([1, None], 'Int32'), 'd': pd.Categorical(['u', 'v'])})",
        equal=False,
    ),
    row(
        "pa.table({'s': pa.array([{'a': 1, 'b': 'x'}])})",
        "structure(list(s = list(list(a = 1L, b = 'x'))), class = 'data.frame', row.names = 1L)",
        "pd.DataFrame({'s': [{'a': 1, 'b': 'x'}]})",
        equal=False,
    ),
    row("pa.array([1.5, None])", "c(1.5, NA)", "[1.5, None]", equal=False),
    row("pa.array([decimal.Decimal('1.5'), None])", "c(1.5, NA)", "[1.5, None]", equal=False),
    row(
        "pa.array([decimal.Decimal('0.1234567890123456789')])",
        "0.1234567890123456789",
        "0.12345678901234568",
        equal=False,
        warns="more than 15 digits",
    ),
    row("pa.chunked_array([['a'], [None]])", "c('a', NA)", "['a', None]", equal=False),
    row("pa.scalar(5)", "5L", "5", equal=False),
    row("pa.scalar('a')", "'a'", "'a'", equal=False),
    row(
        "sp.csc_matrix(np.array([[1.5, 0], [0, 2]]))",
        "Matrix::sparseMatrix(i = 1:2, j = 1:2, x = c(1.5, 2))",
        "sp.csc_matrix(np.array([[1.5, 0], [0, 2]]))",
    ),
    row(
        "sp.csr_matrix(np.array([[1.5, 0], [0, 2]]))",
        "methods::as(Matrix::sparseMatrix(i = 1:2, j = 1:2, x = c(1.5, 2)), 'RsparseMatrix')",
    ),
    row(
        "sp.coo_array(np.array([[1.5, 0], [0, 2]]))",
        "methods::as(Matrix::sparseMatrix(i = 1:2, j = 1:2, x = c(1.5, 2)), 'TsparseMatrix')",
        "sp.coo_matrix(np.array([[1.5, 0], [0, 2]]))",
        equal=False,
    ),
    # --- nested, and objects
    row(
        "{'frame': pd.DataFrame({'x': [1.5]}), 'grid': np.eye(2), 'name': 'm', 'deep': [{'a': (1, 'b')}, None]}",
        "list(frame = data.frame(x = 1.5), grid = diag(2), name = 'm', deep = list(list(a = list(1L, 'b')), NULL))",
        "{'frame': pd.DataFrame({'x': [1.5]}), 'grid': np.eye(2), 'name': 'm', 'deep': [{'a': [1, 'b']}, None]}",
        equal=False,
    ),
    row("[pd.DataFrame({'x': [1.5]})] * 2", "list(data.frame(x = 1.5), data.frame(x = 1.5))"),
    row("len", "function(x) inherits(x, 'metaflow_opaque') && x$language == 'python'", equal=False),
    row("{'f': math.sqrt, 'n': 1}", "function(x) inherits(x$f, 'metaflow_opaque') && identical(x$n, 1L)", equal=False),
]

R = [
    row("NULL", "None"),
    row("NA", "None", "NULL", equal=False),
    row("NA_integer_", "None", "NULL", equal=False),
    row("NA_real_", "None", "NULL", equal=False),
    row("NA_character_", "None", "NULL", equal=False),
    row("5L", "5"),
    row("1.5", "1.5"),
    row("NaN", "math.nan"),
    row("1+2i", "1 + 2j"),
    row("'\\u00e9'", "'é'"),
    row("iconv('\\u00e9', 'UTF-8', 'latin1')", "'é'", "'\\u00e9'"),
    row("as.raw(1:2)", "b'\\x01\\x02'"),
    row("1:3", "[1, 2, 3]"),
    row("c(1, NA, NaN, -Inf)", "[1.0, None, math.nan, -math.inf]"),
    row("c(TRUE, NA)", "[True, None]"),
    row("c('a', NA)", "['a', None]"),
    row("c(NA, NA)", "[None, None]", "list(NULL, NULL)", equal=False),
    row("c(1+1i, NA)", "[1 + 1j, None]", "list(1+1i, NULL)", equal=False),
    row("integer(0)", "[]", "list()", equal=False),
    row("1:500 + 0.5", "[i + 0.5 for i in range(1, 501)]"),
    row("c(a = 1, b = 2)", "{'a': 1.0, 'b': 2.0}", "list(a = 1, b = 2)", equal=False),
    row("setNames(1:2, c('a', 'a'))", "[1, 2]", "1:2", equal=False, warns="names"),
    row("list(1, 'a', NULL)", "[1.0, 'a', None]"),
    row("list(1, 2)", "[1.0, 2.0]", "c(1, 2)", equal=False),
    row("list(1)", "[1.0]", "1", equal=False),
    row("list(NULL, NULL)", "[None, None]"),
    row("list(a = 1, b = list(c = 'x'))", "{'a': 1.0, 'b': {'c': 'x'}}"),
    row("list(a = 1, a = 2)", "[1.0, 2.0]", "c(1, 2)", equal=False, warns="names"),
    row("list(a = 1, 2)", "[1.0, 2.0]", "c(1, 2)", equal=False, warns="names"),
    row("bit64::as.integer64('9007199254740993')", "9007199254740993"),
    row("bit64::as.integer64(c('1', NA))", "[1, None]", "c(1L, NA)"),
    row("factor(c('b', NA, 'a'), levels = c('b', 'a'))", "pd.Categorical(['b', None, 'a'], ['b', 'a'])"),
    row("factor('lo', levels = c('lo', 'hi'), ordered = TRUE)", "pd.Categorical(['lo'], ['lo', 'hi'], ordered=True)"),
    row("as.Date('2024-02-29')", "dt.date(2024, 2, 29)"),
    row(
        "structure(c(NA, 1e7), class = 'Date')",
        "[None, np.datetime64('29349-01-26')]",
        "list(NULL, structure(1e7, class = 'Date'))",
        equal=False,
    ),
    row("as.Date(c('2024-02-29', NA))", "[dt.date(2024, 2, 29), None]", equal=False),
    row("structure(10L, class = 'Date')", "dt.date(1970, 1, 11)", "structure(10, class = 'Date')"),
    row(
        "as.POSIXct('2024-10-26 02:30:00', tz = 'Europe/Berlin')",
        "dt.datetime(2024, 10, 26, 2, 30, tzinfo=ZoneInfo('Europe/Berlin'))",
    ),
    row(
        "as.POSIXct(c('2024-01-01 12:00:00', NA), tz = 'Europe/Berlin')",
        "[dt.datetime(2024, 1, 1, 12, tzinfo=ZoneInfo('Europe/Berlin')), None]",
        equal=False,
    ),
    row(
        "as.POSIXct('2024-01-01', tz = 'UTC') + c(0, 1/3)",
        "[dt.datetime(2024, 1, 1, tzinfo=ZoneInfo('UTC')), dt.datetime(2024, 1, 1, 0, 0, 0, 333333, ZoneInfo('UTC'))]",
        "as.POSIXct('2024-01-01', tz = 'UTC') + c(0, 0.333333)",
        equal=False,
    ),
    row(
        "as.POSIXlt('2024-01-01 10:00:00', tz = 'Europe/Berlin')",
        "dt.datetime(2024, 1, 1, 10, tzinfo=ZoneInfo('Europe/Berlin'))",
        "as.POSIXct('2024-01-01 10:00:00', tz = 'Europe/Berlin')",
        equal=False,
    ),
    row(
        "as.POSIXlt(c('2024-01-01', NA), tz = 'UTC')",
        "[dt.datetime(2024, 1, 1, tzinfo=ZoneInfo('UTC')), None]",
        "as.POSIXct(c('2024-01-01', NA), tz = 'UTC')",
        equal=False,
    ),
    row("as.difftime(5, units = 'mins')", "dt.timedelta(minutes=5)", "as.difftime(300, units = 'secs')"),
    row(
        "as.difftime(c(1.5, NA), units = 'hours')",
        "[dt.timedelta(hours=1.5), None]",
        "as.difftime(c(5400, NA), units = 'secs')",
        equal=False,
    ),
    row("structure(3600, class = c('hms', 'difftime'), units = 'secs')", "dt.time(1)"),
    row("structure(c(3600, NA), class = c('hms', 'difftime'), units = 'secs')", "[dt.time(1), None]", equal=False),
    row("matrix(1:6, 2)", "np.array([[1, 3, 5], [2, 4, 6]], 'i4')"),
    row(
        "matrix(c(1.5, NA, 3, NaN), 2)",
        "np.array([[1.5, 3], [np.nan, np.nan]])",
        "matrix(c(1.5, NaN, 3, NaN), 2)",
        equal=False,
    ),
    row("matrix(c('a', NA), 1)", "np.array([['a', None]], object)", equal=False),
    row("array(1:24, c(2, 3, 4))", "np.arange(1, 25, dtype='i4').reshape(4, 3, 2).T"),
    row("array(1:3, 3)", "np.array([1, 2, 3], 'i4')", "1:3"),
    row(
        "matrix(1:4, 2, dimnames = list(c('a', 'b'), NULL))",
        "np.array([[1, 3], [2, 4]])",
        "matrix(1:4, 2)",
        equal=False,
        warns="dimnames",
    ),
    row("data.frame(a = 1:2, b = c('x', NA))", "pd.DataFrame({'a': np.array([1, 2], 'i4'), 'b': ['x', None]})"),
    row("data.frame()", "pd.DataFrame()"),
    row(
        "data.frame(a = integer(), b = character())",
        "pd.DataFrame({'a': np.array([], 'i4'), 'b': pd.array([], 'str')})",
    ),
    row("data.frame(row.names = c('a', 'b'))", "pd.DataFrame(index=['a', 'b'])"),
    row(
        "data.frame(i = c(1L, NA), x = c(1.5, NA), l = c(TRUE, NA))",
        "pd.DataFrame({'i': pd.array([1, None], 'Int32'), 'x': [1.5, np.nan], 'l': pd.array([True, None], 'boolean')})",
        "data.frame(i = c(1L, NA), x = c(1.5, NaN), l = c(TRUE, NA))",
        equal=False,
    ),
    row(
        "data.frame(d = as.Date('2024-01-01'), f = factor('u'), t = as.POSIXct('2024-01-01', tz = 'Europe/Paris'))",
        "pd.DataFrame({'d': [dt.date(2024, 1, 1)], 'f': pd.Categorical(['u']), "
        "'t': pd.to_datetime(['2024-01-01']).tz_localize('Europe/Paris').as_unit('us')})",
        equal=False,
    ),
    row(
        "data.frame(x = 1:2, row.names = c('u', 'v'))", "pd.DataFrame({'x': np.array([1, 2], 'i4')}, index=['u', 'v'])"
    ),
    row(
        "tibble::tibble(a = 1:2, l = list(1, 'b'))",
        "with_attrs(pd.DataFrame({'a': np.array([1, 2], 'i4'), 'l': np.array([1.0, 'b'], object)}), "
        "{'r': {'class': ['tbl_df', 'tbl', 'data.frame']}})",
    ),
    row(
        "data.table::data.table(a = c(1.5, 2))",
        "with_attrs(pd.DataFrame({'a': [1.5, 2]}), {'r': {'class': ['data.table', 'data.frame']}})",
    ),
    row(
        "{x <- data.frame(a = 1:2); attr(x$a, 'label') <- 'Age'; attr(x, 'comment') <- c('one', 'two'); x}",
        "with_attrs(pd.DataFrame({'a': np.array([1, 2], 'i4')}), "
        "{'r': {'attributes': {'comment': ['one', 'two']}, 'columns': {'a': {'label': 'Age'}}}})",
    ),
    row(
        "{x <- data.frame(a = 1:2); "
        "x$a <- structure(c(1.5, 2), class = 'haven_labelled', labels = c(no = 1, yes = 2)); x}",
        "with_attrs(pd.DataFrame({'a': [1.5, 2.0]}), {'r': {'columns': {'a': {'class': 'haven_labelled', 'labels': "
        "{'$': 'r.vector', 'a': {'type': 'double'}, 'v': [1.0, 2.0], 'f': {'names': ['no', 'yes']}}}}}})",
    ),
    row(
        "{x <- tibble::tibble(a = 1:2); x$d <- tibble::tibble(u = 1:2, v = c('x', 'y')); as.data.frame(x)}",
        "pd.DataFrame({'a': np.array([1, 2], 'i4'), 'd': [{'u': 1, 'v': 'x'}, {'u': 2, 'v': 'y'}]})",
        "structure(list(a = 1:2, d = list(list(u = 1L, v = 'x'), list(u = 2L, v = 'y'))), class = 'data.frame', "
        "row.names = 1:2)",
        equal=False,
    ),
    row(
        "{x <- data.frame(a = 1:2); x$m <- matrix(c(1, 2, 3, 4), 2); x}",
        "pd.DataFrame({'a': np.array([1, 2], 'i4'), 'm': [[1.0, 3.0], [2.0, 4.0]]})",
        "structure(list(a = 1:2, m = list(c(1, 3), c(2, 4))), class = 'data.frame', row.names = 1:2)",
        equal=False,
    ),
    row("structure(1.5, class = 'foo')", "1.5", "1.5", equal=False, warns="class"),
    row("structure(list(a = 1), class = 'bar')", "{'a': 1.0}", "list(a = 1)", equal=False, warns="class"),
    row("ts(1:3, start = 2020)", "[1, 2, 3]", "1:3", equal=False, warns="tsp"),
    row("Matrix::sparseMatrix(i = 1:2, j = 1:2, x = c(1.5, 2))", "sp.csc_matrix(np.array([[1.5, 0], [0, 2]]))"),
    row("lm(mpg ~ wt, mtcars)", "Handle('r', 'lm')", equal=False, frozen=False),
    row("list(f = mean, n = 1)", "{'f': Handle('r', 'function'), 'n': 1.0}", equal=False, frozen=False),
]
