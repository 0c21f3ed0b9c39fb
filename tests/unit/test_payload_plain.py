"""Values that are not JSON by themselves: what they become, through the codecs that ask for it."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import types
import uuid
from types import ModuleType
from typing import Any, NamedTuple, TypedDict

import pytest

from conductor_grpc import _core
from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload import reference
from conductor_grpc.payload.plain import to_key, to_plain

CODECS = pytest.mark.parametrize("codec", [_core, reference], ids=["native", "reference"])


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, "two")
    WHEN = datetime.date(2024, 2, 3)


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):
    ADA = "ada"


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Any] = dataclasses.field(default_factory=list)
    colour: Colour = Colour.RED


@dataclasses.dataclass(slots=True)
class Slotted:
    order: Order


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict):
    deep: bool


class Model:
    """What a pydantic model looks like from here."""

    def model_dump(self, *, mode: str) -> dict[str, object]:
        return {"mode": mode, "at": datetime.time(4, 5)}


class Brittle:
    def model_dump(self, *, mode: str) -> dict[str, object]:
        raise RuntimeError(f"no {mode} today")


UTC = datetime.timezone.utc


@CODECS
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Order(7, [Order(8)]), {"number": 7, "lines": [{"number": 8, "lines": [], "colour": "red"}], "colour": "red"}),
        (Slotted(Order(1)), {"order": {"number": 1, "lines": [], "colour": "red"}}),
        (Options(deep=True), {"deep": True}),
        (Point(1, 0.5), [1, 0.5]),
        (Colour.RED, "red"),
        (Colour.PAIR, [1, "two"]),
        (Colour.WHEN, "2024-02-03"),
        (Level.HIGH, 3),
        (Name.ADA, "ada"),
        (datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC), "2024-02-03T04:05:06+00:00"),
        (datetime.date(2024, 2, 3), "2024-02-03"),
        (datetime.time(4, 5), "04:05:00"),
        (datetime.timedelta(0), "PT0S"),
        (datetime.timedelta(days=1, seconds=2, microseconds=500_000), "P1DT2.5S"),
        (-datetime.timedelta(microseconds=1), "-PT0.000001S"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1: 2, 3: 4}.keys(), [1, 3]),
        (uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
        (decimal.Decimal("19.90"), "19.90"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"ab"), "YWI="),
        (Model(), {"mode": "json", "at": "04:05:00"}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (fractions.Fraction(1, 2), 0.5),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.feature("Data converter")
def test_values_become_json(codec: ModuleType, value: object, expected: object) -> None:
    assert codec.decode_map(codec.encode_map({"v": value}, 3), 3) == {"v": expected}


@CODECS
@pytest.mark.parametrize("mapping", [Order(1), Model(), types.MappingProxyType({"a": 1})])
def test_the_whole_output_may_be_such_a_value(codec: ModuleType, mapping: object) -> None:
    assert codec.decode_map(codec.encode_map(mapping, 3), 3) != {}


@pytest.mark.bug("D11")
@CODECS
def test_enum_keys_are_their_text(codec: ModuleType) -> None:
    encoded = codec.encode_map({Colour.RED: 1, Name.ADA: 2, "a": {Colour.RED: 3}}, 3)
    assert codec.decode_map(encoded, 3) == {"red": 1, "ada": 2, "a": {"red": 3}}
    with pytest.raises(PayloadEncodeError, match=r"a: the key <Colour\.PAIR.* has the type Colour, expected str"):
        codec.encode_map({"a": {Colour.PAIR: 3}}, 3)


@CODECS
@pytest.mark.parametrize(
    "value",
    [(n for n in ()), object(), 1j, int, Order, decimal.Decimal("NaN"), {1: 2}.items],
)
@pytest.mark.bug("D11")
def test_values_without_a_json_form_are_refused(codec: ModuleType, value: object) -> None:
    with pytest.raises(PayloadEncodeError) as caught:
        codec.encode_map({"a": [value]}, 3)
    assert caught.value.path == "a[0]"
    assert str(caught.value).startswith("a[0]: ")


@CODECS
def test_errors_within_converted_values_name_their_own_path(codec: ModuleType) -> None:
    with pytest.raises(PayloadEncodeError, match="beyond 2") as caught:
        codec.encode_map({"order": Order(1, [Order(2**60)])}, 3)
    assert caught.value.path == "order.lines[0].number"


@CODECS
def test_a_failing_conversion_is_the_cause(codec: ModuleType) -> None:
    with pytest.raises(
        PayloadEncodeError, match=r"a: converting a value of type Brittle failed: RuntimeError"
    ) as caught:
        codec.encode_map({"a": Brittle()}, 3)
    assert isinstance(caught.value.__cause__, RuntimeError)


@CODECS
def test_a_conversion_that_empties_the_mapping_under_way_is_noticed(codec: ModuleType) -> None:
    mapping: dict[str, object] = {}

    class Vandal:
        def model_dump(self, *, mode: str) -> dict[str, object]:
            mapping.clear()
            return {"mode": mode}

    mapping.update({"a": Vandal(), "b": "x" * 100})
    with pytest.raises(PayloadEncodeError, match="changed its size"):
        codec.encode_map(mapping, 3)
    items: list[object] = [None]

    class Thief(Vandal):
        def model_dump(self, *, mode: str) -> dict[str, object]:
            items.clear()
            return {"mode": mode}

    items[0] = Thief()
    assert codec.decode_map(codec.encode_map({"l": items}, 3), 3) == {"l": [{"mode": "json"}]}


@CODECS
def test_an_interrupt_during_a_conversion_is_not_swallowed(codec: ModuleType) -> None:
    class Interrupted:
        def model_dump(self, *, mode: str) -> dict[str, object]:
            raise KeyboardInterrupt(mode)

    with pytest.raises(KeyboardInterrupt):
        codec.encode_map({"a": Interrupted()}, 3)


@CODECS
def test_a_model_that_gives_another_is_refused(codec: ModuleType) -> None:
    class Nested:
        def model_dump(self, *, mode: str) -> object:
            return Model() if mode == "json" else None

    with pytest.raises(
        PayloadEncodeError, match=r"a value of type .*Nested converts to Model, which is not a JSON value"
    ):
        codec.encode_map({"a": Nested()}, 3)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "a", [1], (1,), {"a": 1}])
def test_plain_values_come_back_as_they_are(value: object) -> None:
    assert to_plain(value) is value


def test_refusals_know_no_path_yet() -> None:
    for function in (to_plain, to_key):
        with pytest.raises(PayloadEncodeError) as caught:
            function(object())
        assert caught.value.path == ""
