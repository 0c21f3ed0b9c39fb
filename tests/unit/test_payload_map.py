"""The rules of encode_map and decode_map, on the native codec and on its reference."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import DecodeError

from conductor_grpc import _core
from conductor_grpc.errors import PayloadDecodeError, PayloadEncodeError
from conductor_grpc.payload import reference
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest

if TYPE_CHECKING:
    from types import ModuleType

CODECS = pytest.mark.parametrize("codec", [_core, reference], ids=["native", "reference"])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field, for building messages no encoder would make."""
    return reference.length_delimited(number, content)


def entry(key: bytes, value: bytes) -> bytes:
    return field(1, field(1, key) + field(2, value))


@CODECS
@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ({"items": [0, {"price": math.nan}]}, "items[1].price", "nan is not finite"),
        ({"a": {"b": math.inf}}, "a.b", "inf is not finite"),
        ({"a": [2**53 + 1]}, "a[0]", "9007199254740993 is beyond 2**53"),
        ({"a": (-(2**64),)}, "a[0]", "-18446744073709551616 is beyond 2**53"),
        ({"a": {"b": {1: 2}}}, "a.b", "the key 1 has the type int, expected str"),
        ({None: 2}, "", "the key None has the type NoneType"),
        ({"a": [1j]}, "a[0]", "type complex has no JSON form"),
        ({"a": "\ud800"}, "a", r"'\ud800' has a lone surrogate"),
        ({"a": {"\udfff": 1}}, "a", "lone surrogate"),
        ([1], "", "expected a mapping with string keys, got [1] of type list"),
        ("text", "", "expected a mapping"),
        (None, "", "expected a mapping"),
    ],
)
def test_a_value_that_cannot_be_sent_is_named(codec: ModuleType, value: Any, path: str, words: str) -> None:
    with pytest.raises(PayloadEncodeError) as caught:
        codec.encode_map(value, 3)
    assert caught.value.path == path
    assert words in str(caught.value)
    assert str(caught.value).startswith(path)


@CODECS
def test_big_integers_become_text_on_request(codec: ModuleType) -> None:
    values = {"big": 2**53 + 1, "small": -(2**70), "exact": 2**53}
    decoded = codec.decode_map(codec.encode_map(values, 3, "string"), 3)
    assert decoded == {"big": "9007199254740993", "small": "-1180591620717411303424", "exact": 2**53}
    with pytest.raises(ValueError, match="big_integers is 'maybe', expected 'error' or 'string'"):
        codec.encode_map({}, 3, "maybe")
    with pytest.raises(PayloadEncodeError, match="a: the integer has too many digits"):
        codec.encode_map({"a": 10**5000}, 3, big_integers="string")


@CODECS
def test_whole_numbers_come_back_as_int(codec: ModuleType) -> None:
    numbers = {"int": 3, "whole": 3.0, "half": 0.5, "edge": 2.0**53, "beyond": 2.0**53 + 2, "true": True}
    decoded = codec.decode_map(codec.encode_map(numbers, 3), 3)
    assert {key: repr(value) for key, value in decoded.items()} == {
        "int": "3",
        "whole": "3",
        "half": "0.5",
        "edge": "9007199254740992",
        "beyond": "9007199254740994.0",
        "true": "True",
    }


@CODECS
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_of_other_clients_that_are_not_finite_are_read(codec: ModuleType, number: float) -> None:
    message = struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=number)}).SerializeToString()
    assert repr(codec.decode_map(message, 1)) == repr({"a": number})


def nested(containers: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(containers):
        value = [value] if kind == "list" else {"k": value}
    return value


@CODECS
@pytest.mark.parametrize(("kind", "deepest"), [("list", 48), ("dict", 32)])
def test_encoding_goes_as_deep_as_the_server_reads(codec: ModuleType, kind: str, deepest: int) -> None:
    value = {"top": nested(deepest, kind)}
    encoded = codec.encode_map(value, 7)
    assert codec.decode_map(encoded, 7) == value
    UpdateTaskRequest.FromString(field(1, encoded))
    deeper = taskresult_pb2.TaskResult()
    json_format.ParseDict(nested(deepest + 1, kind), deeper.output_data["top"])
    with pytest.raises(DecodeError):
        UpdateTaskRequest.FromString(field(1, deeper.SerializeToString()))
    for depth in (deepest + 1, 10_000):
        with pytest.raises(PayloadEncodeError, match="nested too deeply") as caught:
            codec.encode_map({"top": nested(depth, kind)}, 1)
        assert caught.value.path.startswith("top[0][0]" if kind == "list" else "top.k.k")


@CODECS
def test_a_value_that_contains_itself_is_refused(codec: ModuleType) -> None:
    loop: list[Any] = []
    loop += [{"again": loop}, loop]
    with pytest.raises(PayloadEncodeError, match="contains itself"):
        codec.encode_map({"loop": loop}, 3)


@CODECS
def test_decoding_goes_a_hundred_levels_deep_and_no_further(codec: ModuleType) -> None:
    def message(lists: int) -> bytes:
        value = b""
        for _ in range(lists):
            value = field(6, field(1, value))
        return entry(b"k", value)

    assert codec.decode_map(message(99), 1)["k"] is not None
    for depth in (100, 10_000):
        with pytest.raises(PayloadDecodeError, match="nested more than 100 levels deep") as caught:
            codec.decode_map(message(depth), 1)
        assert caught.value.path == "k" + "[0]" * 100


@CODECS
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", None),  # no kind
        (b"\x08\x07", None),  # an undefined NullValue
        (b"\x20\x02", True),  # any number but 0
        (b"\x08\x80\x80\x00", None),  # a number written longer than need be
        (b"\x08" + b"\xff" * 9 + b"\x7f", None),  # 10 bytes, bits beyond the 64th
        (b"\x1a\x01a\x20\x01", True),  # two kinds: the last
        (field(6, field(1, b"\x20\x01")) + b"\x08\x00", None),
        (field(6, field(1, b"\x20\x01")) + field(6, field(1, b"\x20\x00")), [True, False]),  # the same kind: merged
        (field(5, entry(b"a", b"\x20\x01")) + field(5, entry(b"b", b"")), {"a": True, "b": None}),
        (field(5, entry(b"a", b"\x20\x01") * 2 + entry(b"a", b"\x1a\x00")), {"a": ""}),  # a key again: the last
        (b"\x38\x01" + field(99, b"x") + b"\x3d1234" + b"\x3912345678" + b"\x1a\x01a", "a"),  # unknown fields
    ],
)
def test_odd_values_are_read_as_protobuf_reads_them(codec: ModuleType, value: bytes, expected: object) -> None:
    decoded = codec.decode_map(entry(b"k", value), 1)
    assert decoded == {"k": expected}
    assert type(decoded["k"]) is type(expected)


@CODECS
def test_entries_are_read_whatever_their_parts(codec: ModuleType) -> None:
    swapped = field(1, field(2, b"\x20\x01") + field(1, b"a"))
    no_key = field(1, field(2, b"\x20\x01"))
    no_value = field(1, field(1, b"b"))
    again = field(1, field(1, b"x") + field(2, b"\x20\x01") + field(2, b"\x1a\x01t") + field(1, b"c"))
    other = field(2, b"\xff") + b"\x18\x05"
    decoded = codec.decode_map(swapped + other + no_key + no_value + again, 1)
    assert decoded == {"a": True, "": True, "b": None, "c": "t"}
    assert list(decoded) == ["a", "", "b", "c"]
    assert codec.decode_map(b"", 1) == {}


@CODECS
@pytest.mark.parametrize(
    ("message", "path", "words"),
    [
        (b"\x0a", "", "the message ends inside a number"),
        (b"\x0a\x05ab", "", "cut off: 5 bytes should follow, 2 are there"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "", "cut off: 18446744073709551615 bytes"),
        (b"\x0a" + b"\x80" * 10 + b"\x01", "", "a number is longer than 10 bytes"),
        (b"\x8a\x80\x80\x80\x80\x00\x00", "", "a tag is longer than 32 bits"),
        (b"\x8a\x80\x80\x80\x10\x00", "", "a tag is longer than 32 bits"),
        (b"\x00\x00", "", "a tag has the field number 0"),
        (b"\x0b\x0c", "", "field 1 has the wire type 3, expected 2"),
        (b"\x13\x14", "", "field 2 has the wire type 3, which is a group"),
        (b"\x16", "", "field 2 has the wire type 6"),
        (b"\x08\x01", "", "field 1 has the wire type 0, expected 2"),
        (entry(b"k", b"\x0a\x00"), "k", "field 1 has the wire type 2, expected 0"),
        (entry(b"k", b"\x10\x00"), "k", "field 2 has the wire type 0, expected 1"),
        (entry(b"k", b"\x11\x00"), "k", "cut off: 8 bytes should follow, 1 are there"),
        (entry(b"k", b"\x1a\x01\xff"), "k", "not valid UTF-8"),
        (entry(b"k", b"\x1a\x03\xed\xa0\x80"), "k", "not valid UTF-8"),  # a surrogate
        (entry(b"k", b"\x1a\x02\xc0\x80"), "k", "not valid UTF-8"),  # an overlong form
        (entry(b"\xff", b""), "", "not valid UTF-8"),
        (entry(b"k", field(5, entry(b"l", field(6, field(1, b"") + field(1, b"\x20"))))), "k.l[1]", "ends inside"),
    ],
)
def test_bytes_that_are_no_message_are_refused(codec: ModuleType, message: bytes, path: str, words: str) -> None:
    with pytest.raises(PayloadDecodeError) as caught:
        codec.decode_map(message, 1)
    assert words in str(caught.value)
    assert caught.value.path == path


def test_protobuf_refuses_these_bytes_too() -> None:
    """Guards the list above against being stricter by mistake: groups and wrong wire types are so on purpose."""
    for message in (b"\x0a", b"\x0a\x05ab", b"\x0a" + b"\x80" * 10 + b"\x01", b"\x8a\x80\x80\x80\x10\x00", b"\x00\x00"):
        with pytest.raises(DecodeError):
            struct_pb2.Struct.FromString(message)


@CODECS
def test_any_bytes_like_input_is_read(codec: ModuleType) -> None:
    encoded = codec.encode_map({"a": "é"}, 1)
    for data in (encoded, bytearray(encoded), memoryview(b"-" + encoded)[1:]):
        assert codec.decode_map(data, 1) == {"a": "é"}
    for data in ("text", None, 3, [1]):
        with pytest.raises(TypeError, match=f"got {type(data).__name__}: pass the serialised message"):
            codec.decode_map(data, 1)


@CODECS
@pytest.mark.parametrize("number", [0, -1, 2**29])
def test_a_bad_field_number_is_refused(codec: ModuleType, number: int) -> None:
    with pytest.raises(ValueError, match=f"the field number {number} is not within 1 and 536870911"):
        codec.encode_map({}, number)
    with pytest.raises(ValueError, match=f"the field number {number} is not within 1 and 536870911"):
        codec.decode_map(b"", number)


def test_threads_may_share_the_codec() -> None:
    mapping = {"a": list(range(50)), "b": {"c": "é" * 20}}
    layout = _core.Layout([(1, "value_map")])
    failures: list[object] = []

    def work() -> None:
        for _ in range(300):
            (decoded,) = layout.decode(layout.encode([mapping]))
            if decoded != mapping:
                failures.append(decoded)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(("pure", "module"), [("1", "conductor_grpc.payload.reference"), ("", "conductor_grpc._core")])
def test_the_environment_chooses_the_codec(pure: str, module: str) -> None:
    code = "from conductor_grpc.payload import Layout; print(Layout.__module__)"
    environment = {**os.environ, "CONDUCTOR_GRPC_PURE": pure}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == module
