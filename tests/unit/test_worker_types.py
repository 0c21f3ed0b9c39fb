"""Types of the standard library as inputs, and that what a worker may return it may also take."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import sys
import typing
import uuid
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from typed_functions import bound, one

from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.payload import decode_map, encode_map
from conductor_grpc.payload.plain import to_json

UTC = datetime.timezone.utc
HOUR = datetime.timezone(datetime.timedelta(hours=1))


class Letter(enum.Enum):
    A = "a"
    B = "b"


class Odd(enum.Enum):
    PAIR = (1, "two")
    WHEN = datetime.date(2024, 2, 3)


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Rights(enum.IntFlag):
    READ = 1
    EXECUTE = 4


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Address(TypedDict):
    street: str
    zip: typing_extensions.NotRequired[str]
    home: Optional[Address]  # noqa: UP045 - Python 3.10 evaluates it where the class is named


class Tree(TypedDict, total=False):
    trees: Optional[list["Tree"]]  # noqa: UP037, UP045 - the text within the brackets is what this is about
    named: dict[str, "Tree"]  # noqa: UP037


@dataclass
class HalfKnown:
    number: int
    call: typing.Callable[[], int]


@dataclass
class FillsItself:
    number: int
    half: HalfKnown = field(init=False)


class Partial(typing_extensions.TypedDict, total=False):
    number: typing_extensions.Required[int]
    note: typing_extensions.ReadOnly[str]


class Wider(Partial):
    more: list[Address]


@dataclass(frozen=True)
class Event:
    at: datetime.datetime
    id: uuid.UUID
    lasts: datetime.timedelta = datetime.timedelta(0)


Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (datetime.datetime, "2024-02-03T04:05:06Z", datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (datetime.datetime, "2024-02-03 04:05", datetime.datetime(2024, 2, 3, 4, 5)),
        (datetime.datetime, "2024-02-03T04:05:06.5+0100", datetime.datetime(2024, 2, 3, 4, 5, 6, 500_000, HOUR)),
        (datetime.datetime, "2024-02-03T04:05:06.123456789", datetime.datetime(2024, 2, 3, 4, 5, 6, 123_456)),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
        (datetime.time, "04:05:06,25", datetime.time(4, 5, 6, 250_000)),
        (datetime.time, "04:05+01:00", datetime.time(4, 5, tzinfo=HOUR)),
        (datetime.timedelta, "P1DT2H3M4.5S", datetime.timedelta(1, 2 * 3600 + 3 * 60 + 4, 500_000)),
        (datetime.timedelta, "-P2W", -datetime.timedelta(14)),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (decimal.Decimal, "19.90", decimal.Decimal("19.90")),
        (decimal.Decimal, 19.9, decimal.Decimal("19.9")),
        (decimal.Decimal, 3, decimal.Decimal(3)),
        (bytes, "AP8=", b"\x00\xff"),
        (bytearray, "YWI=", bytearray(b"ab")),
        (tuple, [1, "a"], (1, "a")),
        (tuple[int, str], [1.0, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[()], [], ()),
        (set, [1, 1], {1}),
        (set[int], [1.0, 2], {1, 2}),
        (frozenset[Letter], ["a"], frozenset({Letter.A})),
        (AbstractSet[str], ["a"], frozenset({"a"})),
        (Iterable[int], [1.0], [1]),
        (typing.List[int], [1.0], [1]),  # noqa: UP006
        (typing.Dict[str, int], {"a": 1.0}, {"a": 1}),  # noqa: UP006
        (typing.Tuple[int, str], [1, "a"], (1, "a")),  # noqa: UP006
        (typing.Set[int], [1], {1}),  # noqa: UP006
        (dict[Letter, int], {"a": 1.0}, {Letter.A: 1}),
        (dict[Literal["a", "b"], int], {"b": 2}, {"b": 2}),
        (Odd, [1, "two"], Odd.PAIR),
        (Odd, "2024-02-03", Odd.WHEN),
        (Level, 1.0, Level.LOW),
        (Literal[Letter.A, 3], "a", Letter.A),
        (Point, [1.0, 2], Point(1, 2.0)),
        (Point, [1], Point(1)),
        (collections.namedtuple("Bare", "a b"), [1, "x"], (1, "x")),
        (Address, {"street": "s", "home": None, "unknown": 1}, {"street": "s", "home": None}),
        (Address, {"street": "s", "zip": None, "home": None}, {"street": "s", "home": None}),
        (
            Wider,
            {"number": 1.0, "more": [{"street": "s", "home": {"street": "t", "home": None}}]},
            {"number": 1, "more": [{"street": "s", "home": {"street": "t", "home": None}}]},
        ),
        (Annotated[list[Annotated[int, "inner"]], "outer"], [1.0], [1]),
        (datetime.date | str, "2024-02-03", datetime.date(2024, 2, 3)),
        (datetime.date | str, "tomorrow", "tomorrow"),
        (
            list[Event],
            [{"at": "2024-02-03T04:05", "id": str(uuid.UUID(int=1)), "lasts": None}],
            [Event(datetime.datetime(2024, 2, 3, 4, 5), uuid.UUID(int=1))],
        ),
        (Json, {"a": [{"b": None}, "c", 1.0]}, {"a": [{"b": None}, "c", 1]}),
    ],
)
def test_values_that_fit(annotation: Any, value: Any, expected: object) -> None:
    got = one(annotation, value)
    assert got == expected
    assert isinstance(got, type(expected))


@pytest.mark.parametrize(
    ("annotation", "value", "path", "text"),
    [
        (datetime.datetime, "tomorrow", "x", "expected a date and time such as '2024-02-03T04:05:06Z', got str 'tom"),
        (datetime.datetime, "2024-02-30T04:05:06Z", "x", "got str '2024-02-30"),
        (datetime.datetime, "2024-02-03", "x", "expected a date and time"),
        (datetime.datetime, "٢٠٢٤-02-03T04:05:06", "x", "expected a date and time"),
        (datetime.datetime, 1_700_000_000_000, "x", "take it as int or float and convert it yourself), got int 17000"),
        (datetime.date, "2024-02-03T00:00:00Z", "x", "expected a date such as"),
        (datetime.time, "25:00:00", "x", "expected a time such as"),
        (datetime.timedelta, "1 day", "x", "expected an ISO 8601 duration such as 'P1DT2H' or 'PT1.5S', got str"),
        (datetime.timedelta, "PT", "x", "expected an ISO 8601 duration"),
        (datetime.timedelta, "P1M", "x", "expected an ISO 8601 duration"),
        (datetime.timedelta, "P9999999999D", "x", "expected a duration of less than a billion days"),
        (datetime.timedelta, 1.5, "x", "nobody knows the unit"),
        (uuid.UUID, "7", "x", "expected a UUID such as"),
        (uuid.UUID, 7, "x", "expected a UUID such as"),
        (decimal.Decimal, "NaN", "x", "expected a decimal number"),
        (decimal.Decimal, True, "x", "expected a decimal number"),
        (bytes, "not base64!", "x", "expected bytes as base64, got str 'not base64!'"),
        (tuple[int, str], [1], "x", "expected a list of 2, got list [1]"),
        (tuple[int, str], [1, 2], "x[1]", "expected str, got int 2"),
        (tuple[int, ...], [1, "a"], "x[1]", "expected int"),
        (Point, [], "x", "expected a list of 1 to 2, got list []"),
        (Right, 4, "x", "expected members of Right together, as the sum of their values (1, 2), got int 4"),
        (Rights, -1, "x", "expected members of Rights together"),
        (set[Any], [{}], "x", "expected hashable members, got list [{}]"),
        (dict[Letter, int], {"c": 1}, "x['c']", "as a key: expected one of 'a', 'b', got str 'c'"),
        (
            Address,
            {"street": 1, "zip": 2},
            "x.street",
            "got int 1; x.zip: expected str, got int 2; x.home: missing",
        ),
        (Address, {"street": "s", "home": {"street": "s", "home": 1}}, "x.home.home", "expected an object for Address"),
        (Partial, {"note": "n"}, "x.number", "missing, and it has no default (given: 'note')"),
        (Json, {"a": [True]}, "x", "expected dict[str, "),
    ],
)
def test_values_that_do_not_fit(annotation: Any, value: Any, path: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        one(annotation, value)
    assert caught.value.parameter == path
    assert text in str(caught.value)


@pytest.mark.parametrize("annotation", [dict[int, str], dict[Level, str], dict[uuid.UUID, str], dict[Odd, str]])
def test_keys_are_text(annotation: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match="the keys of a JSON object are str"):
        one(annotation, {})


def test_a_choice_without_a_json_form_is_refused_at_declaration() -> None:
    with pytest.raises(WorkerDefinitionError, match="no input can be one of its values"):
        one(enum.Enum("Useless", {"A": object()}), 1)


def test_texts_within_annotations_that_are_no_texts() -> None:
    def function(x: tuple["Tree", ...]) -> None: ...  # noqa: UP037

    value = {"trees": [{"named": {"a": {}}}]}
    assert bound(function, x=[value]) == {"x": (value,)}
    with pytest.raises(InputError, match=r"x\[0\]\.named\['a'\]\.trees: expected list"):
        bound(function, x=[{"named": {"a": {"trees": 1}}}])


def test_what_annotated_adds_need_not_have_a_hash() -> None:
    assert one(Annotated[int, ["of any kind"]], 1.0) == 1
    assert one(list[Annotated[int, ["of any kind"]]], [1.0]) == [1]


def test_a_record_without_a_rule_is_refused_wherever_it_stands() -> None:
    def function(first: FillsItself, second: HalfKnown) -> None: ...

    with pytest.raises(WorkerDefinitionError, match=r"parameter 'second' .*HalfKnown\.call: unsupported annotation"):
        bound(function)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_aliases_of_the_newer_syntax() -> None:
    space: dict[str, Any] = {}
    exec("type Numbers = list[int]\ntype Tree = dict[str, Tree] | int", space)
    assert one(space["Numbers"], [1.0]) == [1]
    assert one(space["Tree"], {"a": {"b": 1.0}}) == {"a": {"b": 1}}


TIMES = st.datetimes(timezones=st.none() | st.just(UTC) | st.just(HOUR))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.tuples(st.integers(-9, 9), st.text())
ROUND_TRIPS = st.one_of(
    st.tuples(st.just(datetime.datetime), TIMES),
    st.tuples(st.just(datetime.date), st.dates()),
    st.tuples(st.just(datetime.time), st.times(timezones=st.none() | st.just(UTC))),
    st.tuples(st.just(datetime.timedelta), st.timedeltas()),
    st.tuples(st.just(uuid.UUID), st.uuids()),
    st.tuples(st.just(decimal.Decimal), st.decimals(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(bytes), st.binary()),
    st.tuples(st.just(Letter), st.sampled_from(Letter)),
    st.tuples(st.just(Odd), st.sampled_from(Odd)),
    st.tuples(st.just(Right), st.sampled_from([Right(0), Right.READ, Right.READ | Right.WRITE])),
    st.tuples(st.just(Rights), st.sampled_from([Rights.EXECUTE, Rights.READ | Rights.EXECUTE])),
    st.tuples(st.just(Point), st.builds(Point, st.integers(-(2**53), 2**53), NUMBERS)),
    st.tuples(st.just(set[datetime.date]), st.sets(st.dates())),
    st.tuples(st.just(dict[Letter, tuple[int, str]]), st.dictionaries(st.sampled_from(Letter), PAIRS)),
    st.tuples(st.just(Event), st.builds(Event, TIMES, st.uuids(), st.timedeltas())),
)  # fmt: skip


@pytest.mark.feature("Data converter")
@given(ROUND_TRIPS)
def test_what_is_returned_can_be_taken_again(pair: tuple[Any, object]) -> None:
    annotation, value = pair
    wire = decode_map(encode_map({"x": value}, 3), 3)["x"]
    assert one(annotation, wire) == value
    assert to_json(value) == wire


def test_a_sequence_of_records() -> None:
    points: Sequence[Point] = [Point(1), Point(2)]
    assert one(Sequence[Point], to_json(points)) == points
