"""Layout: which fields it takes and writes, and how it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import _core
from conductor_grpc.errors import PayloadDecodeError, PayloadEncodeError
from conductor_grpc.payload import reference
from conductor_grpc.pb.model import task_pb2

if TYPE_CHECKING:
    from types import ModuleType

CODECS = pytest.mark.parametrize("codec", [_core, reference], ids=["native", "reference"])
ONE_OF_EACH = [
    (1, "string"),
    (2, "int"),
    (3, "bool"),
    (4, "bytes"),
    (5, "value_map"),
    (6, "string_map"),
    (7, "messages"),
    (200, "strings"),
]
ABSENT = ("", 0, False, b"", {}, {}, [], [])


@CODECS
def test_absent_fields_are_defaults_of_their_own(codec: ModuleType) -> None:
    layout = codec.Layout(ONE_OF_EACH)
    first, second = layout.decode(b""), layout.decode(b"")
    assert first == second == ABSENT
    assert [type(value) for value in first] == [type(value) for value in ABSENT]
    first[4]["a"] = 1
    first[7].append("a")
    assert second == layout.decode(b"") == ABSENT


@CODECS
def test_values_go_there_and_back(codec: ModuleType) -> None:
    layout = codec.Layout(ONE_OF_EACH)
    values = ("é", -1, True, b"\0", {"a": [1, None]}, {"k": "", "": "v"}, [b"", b"x"], ["", "a"])
    encoded = layout.encode(values)
    assert layout.decode(encoded) == values
    assert layout.fields == tuple(ONE_OF_EACH)
    assert codec.Layout([(200, "strings")]).decode(encoded) == (["", "a"],)
    assert codec.Layout([]).decode(encoded) == ()


@CODECS
@pytest.mark.parametrize("values", [ABSENT, [None] * 8])
def test_defaults_and_none_are_left_out(codec: ModuleType, values: Any) -> None:
    assert codec.Layout(ONE_OF_EACH).encode(values) == b""


@CODECS
def test_single_fields_keep_the_last_and_containers_grow(codec: ModuleType) -> None:
    layout = codec.Layout(ONE_OF_EACH)
    first = layout.encode(("a", 1, True, b"a", {"a": 1}, {"a": "1"}, [b"a"], ["a"]))
    second = layout.encode(("b", 2, None, b"b", {"a": 2, "b": {}}, {"a": "2"}, [b"b"], ["b"]))
    decoded = layout.decode(first + second)
    assert decoded == ("b", 2, True, b"b", {"a": 2, "b": {}}, {"a": "2"}, [b"a", b"b"], ["a", "b"])


@CODECS
def test_order_follows_the_layout(codec: ModuleType) -> None:
    task = task_pb2.Task(task_id="id", seq=-5, domain="d", scheduled_time=2**62, runtime_metadata={"a": "b"})
    layout = codec.Layout(
        [(28, "string"), (6, "int"), (46, "string_map"), (22, "string"), (10, "int"), (26, "value_map")]
    )
    assert layout.decode(task.SerializeToString()) == ("d", -5, {"a": "b"}, "id", 2**62, {})
    assert task_pb2.Task.FromString(layout.encode(layout.decode(task.SerializeToString()))) == task


@CODECS
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([(1, "text")], "field 1 has the kind 'text', expected string, int"),
        ([(0, "int")], "the field number 0 is not within"),
        ([(2**29, "int")], "the field number 536870912 is not within"),
        ([(1, "int"), (1, "bool")], "the field number 1 is given twice"),
    ],
)
def test_a_bad_layout_is_refused(codec: ModuleType, fields: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        codec.Layout(fields)


@CODECS
@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("string", 3, "field 5 expects str, got 3 of type int"),
        ("string", "\ud800", "lone surrogate"),
        ("int", True, "field 5 expects int, got True of type bool"),
        ("int", 1.0, "field 5 expects int, got 1.0 of type float"),
        ("int", 2**63, "field 5 expects an int of 64 bits"),
        ("bool", 1, "field 5 expects bool, got 1 of type int"),
        ("bytes", "a", "field 5 expects bytes, got 'a' of type str"),
        ("string_map", {"a": 1}, "field 5 expects dict"),
        ("string_map", {"a": "\ud800"}, "a: the text"),
        ("messages", b"a", "field 5 expects a list or tuple of bytes, got b'a'"),
        ("messages", ["a"], "field 5 expects bytes, got 'a' of type str"),
        ("strings", "a", "field 5 expects a list or tuple of str"),
        ("strings", ["a", b"b"], "field 5 expects a list or tuple of str"),
        ("value_map", {"a": [2**60]}, r"a\[0\]: the integer"),
        ("value_map", 3, "expected a mapping"),
    ],
)
def test_a_value_of_another_type_is_named(codec: ModuleType, kind: str, value: object, words: str) -> None:
    with pytest.raises(PayloadEncodeError, match=words):
        codec.Layout([(5, kind)]).encode([value])


@CODECS
def test_as_many_values_as_fields(codec: ModuleType) -> None:
    layout = codec.Layout(ONE_OF_EACH)
    with pytest.raises(ValueError, match="the layout has 8 fields, got 1 values"):
        layout.encode(["a"])
    with pytest.raises(TypeError, match="expected a list or tuple with one value per field, got str"):
        layout.encode("abcdefgh")
    with pytest.raises(ValueError, match="big_integers"):
        layout.encode(ABSENT, "no")
    assert layout.decode(layout.encode([None] * 4 + [{"a": 2**60}] + [None] * 3, "string"))[4] == {"a": str(2**60)}


@CODECS
@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x08\x01", "field 1 has the wire type 0, expected 2"),
        (b"\x12\x00", "field 2 has the wire type 2, expected 0"),
        (b"\x0a\x01\xff", "not valid UTF-8"),
        (b"\x32\x05\x0a\x01k\x12\x05", "k: the message is cut off"),
        (b"\x2a\x06\x0a\x01k\x12\x01\x1a", "k: the message ends inside a number"),
        (b"\x3b", "field 7 has the wire type 3"),
        (b"\x4b", "field 9 has the wire type 3, which is a group"),
    ],
)
def test_bytes_that_are_no_message_are_refused(codec: ModuleType, message: bytes, words: str) -> None:
    with pytest.raises(PayloadDecodeError, match=words):
        codec.Layout(ONE_OF_EACH).decode(message)
    with pytest.raises(TypeError, match="got str"):
        codec.Layout(ONE_OF_EACH).decode("text")
