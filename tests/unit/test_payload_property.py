"""The native codec, the Python reference and protobuf itself agree on any value and on any bytes."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import string
import uuid
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conductor_grpc import _core
from conductor_grpc.errors import PayloadDecodeError, PayloadError
from conductor_grpc.payload import reference
from conductor_grpc.pb.model import task_pb2, taskresult_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = settings(max_examples=300)

_EXACT = 2**53
INPUT_DATA = 3
OUTPUT_DATA = 7


class Colour(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Size(enum.IntEnum):
    SMALL = 1
    HUGE = _EXACT + 1


def normalised(value: Any) -> Any:
    """JSON as it comes back: whole numbers within 2**53 are ints."""
    if isinstance(value, dict):
        return {key: normalised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if isinstance(value, float) and abs(value) <= _EXACT and value.is_integer():
        return int(value)
    return value


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["", "a", "key", "é", "\0"])
NUMBERS = (
    st.integers(-_EXACT, _EXACT)
    | st.sampled_from([_EXACT, -_EXACT, 0, -0.0, 2.0**53, 2.0**54, 1e300, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
JSON_OBJECTS = st.dictionaries(TEXTS, JSON, max_size=5)
WHOLE_JSON_OBJECTS = JSON_OBJECTS.map(normalised)  # -0.0 does not come back as it was

ANYTHING = st.recursive(
    JSON
    | st.sampled_from([math.nan, math.inf, _EXACT + 1, -_EXACT - 1, 2**63, -(2**63) - 1, 2**70, "\ud800", object])
    | st.sampled_from([Colour.RED, Colour.DEEP, Size.SMALL, Size.HUGE, {1, 2}, 1j, range(3), decimal.Decimal("1.10")])
    | st.sampled_from([datetime.datetime(2024, 2, 3, 4, 5), datetime.date(2024, 2, 3), uuid.UUID(int=7), b"\0\xff"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS | st.sampled_from([Colour.RED, Colour.DEEP, 1, None, "\udfff"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def outcome(function: Callable[..., object], *arguments: object) -> tuple[object, ...]:
    """What a call gives, in a form that tells 1 from 1.0 and True, and finds nan equal to itself."""
    try:
        return ("value", repr(function(*arguments)))
    except PayloadError as error:
        return (type(error).__name__, str(error), error.path)


def plain(value: struct_pb2.Value) -> Any:
    """A protobuf Value by its own fields, written apart from the codec."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: plain(item) for key, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    if kind in (None, "null_value"):
        return None
    return normalised(getattr(value, kind))


def ordered(value: Any) -> str:
    """For comparing with protobuf, whose maps have an order of their own."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {ordered(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(ordered, value)) + "]"
    return repr(value)


@RUNS
@given(st.dictionaries(TEXTS, ANYTHING, max_size=4), st.sampled_from([1, 15, 16, 2047, 2048, 2**29 - 1]))
def test_encoders_agree_on_any_value(mapping: dict[str, object], number: int) -> None:
    for big_integers in ("error", "string"):
        native = outcome(_core.encode_map, mapping, number, big_integers)
        assert native == outcome(reference.encode_map, mapping, number, big_integers)


@RUNS
@given(JSON_OBJECTS)
def test_json_survives_the_round_trip(mapping: dict[str, Any]) -> None:
    encoded = _core.encode_map(mapping, OUTPUT_DATA)
    assert encoded == reference.encode_map(mapping, OUTPUT_DATA)
    for codec in (_core, reference):
        assert repr(codec.decode_map(encoded, OUTPUT_DATA)) == repr(normalised(mapping))


@RUNS
@given(JSON_OBJECTS)
def test_protobuf_reads_what_is_encoded_and_is_read(mapping: dict[str, Any]) -> None:
    result = taskresult_pb2.TaskResult(task_id="t")
    result.MergeFromString(_core.encode_map(mapping, OUTPUT_DATA))
    expected = ordered(normalised(mapping))
    assert ordered({key: plain(value) for key, value in result.output_data.items()}) == expected
    for codec in (_core, reference):
        assert ordered(codec.decode_map(result.SerializeToString(), OUTPUT_DATA)) == expected


@RUNS
@given(TEXTS, JSON)
def test_one_entry_is_encoded_to_the_bytes_of_protobuf(key: str, value: Any) -> None:
    struct = struct_pb2.Struct()
    struct.MergeFromString(_core.encode_map({key: value}, 1))
    if _has_one_order(value):
        assert _core.encode_map({key: value}, 1) == struct.SerializeToString()
    assert len(_core.encode_map({key: value}, 1)) == struct.ByteSize()


def _has_one_order(value: Any) -> bool:
    if isinstance(value, dict):
        return len(value) < 2 and all(map(_has_one_order, value.values()))
    return all(map(_has_one_order, value)) if isinstance(value, list) else True


@st.composite
def damaged(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(messages))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        action = draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if action == "flip" and position < len(data):
            data[position] ^= 1 << draw(st.integers(0, 7))
        elif action == "cut":
            del data[position : position + draw(st.integers(1, 5))]
        elif action == "insert":
            data[position:position] = draw(st.binary(min_size=1, max_size=4))
        else:
            data += data[position:]
    return bytes(data)


STRUCTS = JSON_OBJECTS.map(lambda mapping: _core.encode_map(mapping, 1))


@settings(max_examples=1000)
@given(damaged(STRUCTS) | st.binary(max_size=40))
@example(b"\x0a\x02\x12\x00")  # a Value without a kind
@example(b"\x0a\x09\x12\x00\x12\x05\x1a\x01a\x08\x00")  # two Values, two kinds
@example(b"\x0a\x0b\x12\x09\x32\x02\x0a\x00\x32\x03\x0a\x01\x08")  # two lists in one Value, the second cut off
@example(b"\x0a\x0a\x12\x08\x32\x02\x0a\x00\x32\x02\x0a\x00")  # two lists in one Value: merged
def test_decoders_agree_on_any_bytes(data: bytes) -> None:
    native = outcome(_core.decode_map, data, 1)
    assert native == outcome(reference.decode_map, data, 1)
    struct = struct_pb2.Struct()
    try:
        struct.ParseFromString(data)
    except DecodeError:
        assert native[0] == "PayloadDecodeError", f"protobuf refuses what became {native}"
        return
    if native[0] == "value" and not _sets_entries_aside(struct):
        expected = {key: plain(value) for key, value in struct.fields.items()}
        assert ordered(_core.decode_map(data, 1)) == ordered(expected)


def _sets_entries_aside(message: Any) -> bool:
    """Whether protobuf left out map entries with unknown fields in them: that of Python does so, Java's does not."""
    if isinstance(message, struct_pb2.Struct):
        unknown = any(field.field_number == 1 for field in UnknownFieldSet(message))
        return unknown or any(map(_sets_entries_aside, message.fields.values()))
    if message.WhichOneof("kind") == "struct_value":
        return _sets_entries_aside(message.struct_value)
    return message.WhichOneof("kind") == "list_value" and any(map(_sets_entries_aside, message.list_value.values))


def layout_of(message: Any) -> list[tuple[int, str]]:
    """All fields of a message type as a layout, from its descriptor."""
    fields = []
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            text_map = field.message_type.fields_by_name["value"].message_type is None
            kind = "string_map" if text_map else "value_map"
        elif field.message_type is not None:
            kind = "messages" if field.is_repeated else "bytes"
        elif field.cpp_type == field.CPPTYPE_STRING:
            kind = "string"
        else:
            kind = "bool" if field.cpp_type == field.CPPTYPE_BOOL else "int"
        fields.append((field.number, kind))
    return fields


def unpacked(message: Any) -> list[object]:
    """The values of all fields as a layout has them, by protobuf's own means."""
    values: list[object] = []
    for field, (_, kind) in zip(message.DESCRIPTOR.fields, layout_of(message), strict=True):
        value = getattr(message, field.name)
        if kind == "value_map":
            values.append({key: plain(item) for key, item in value.items()})
        elif kind == "string_map":
            values.append(dict(value))
        elif kind == "messages":
            values.append([item.SerializeToString() for item in value])
        else:
            values.append(value.SerializeToString() if kind == "bytes" else value)
    return values


SHORT = st.text(string.ascii_letters + "é€😀", max_size=6)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def tasks(draw: st.DrawFn) -> task_pb2.Task:
    task = task_pb2.Task(
        task_type=draw(SHORT),
        status=draw(st.integers(0, 8)),
        retry_count=draw(INT32),
        scheduled_time=draw(INT64),
        retried=draw(st.booleans()),
        runtime_metadata=draw(st.dictionaries(SHORT, SHORT, max_size=3)),
        parent_task_id=draw(SHORT),
    )
    task.MergeFromString(_core.encode_map(draw(WHOLE_JSON_OBJECTS), INPUT_DATA))
    task.MergeFromString(_core.encode_map(draw(WHOLE_JSON_OBJECTS), 26))
    if draw(st.booleans()):
        task.workflow_task.name = draw(SHORT.filter(bool))  # an empty message is as good as absent
    return task


TASK_LAYOUT = layout_of(task_pb2.Task)
RESULT_LAYOUT = layout_of(taskresult_pb2.TaskResult)


@RUNS
@given(tasks())
def test_a_layout_takes_every_field_of_a_task(task: task_pb2.Task) -> None:
    for codec in (_core, reference):
        layout = codec.Layout(TASK_LAYOUT)
        values = layout.decode(task.SerializeToString())
        assert list(values) == unpacked(task)
        assert task_pb2.Task.FromString(layout.encode(values)) == task


@RUNS
@given(tasks(), st.data())
def test_layouts_agree_on_damaged_tasks(task: task_pb2.Task, data: st.DataObject) -> None:
    message = data.draw(damaged(st.just(task.SerializeToString())))
    native = outcome(_core.Layout(TASK_LAYOUT).decode, message)
    assert native == outcome(reference.Layout(TASK_LAYOUT).decode, message)
    try:
        task_pb2.Task.FromString(message)
    except DecodeError:
        # Submessages are left encoded, so that only what is in them may pass here and not there.
        assert native[0] == "PayloadDecodeError" or _has_submessage(message)


def _has_submessage(message: bytes) -> bool:
    try:
        values = _core.Layout([(number, "messages") for number, kind in TASK_LAYOUT if kind == "bytes"]).decode(message)
    except PayloadDecodeError:
        return True
    return any(values)


@RUNS
@given(WHOLE_JSON_OBJECTS, st.lists(SHORT, max_size=3), INT64, st.booleans(), SHORT)
def test_protobuf_reads_an_encoded_result(
    output: dict[str, Any], logs: list[str], callback: int, extend: bool, text: str
) -> None:
    expected = taskresult_pb2.TaskResult(
        task_id=text, callback_after_seconds=callback, extend_lease=extend, status=taskresult_pb2.TaskResult.COMPLETED
    )
    expected.MergeFromString(_core.encode_map(output, OUTPUT_DATA))
    for log in logs:
        expected.logs.add(log=log)
    values = unpacked(expected)
    for codec in (_core, reference):
        assert taskresult_pb2.TaskResult.FromString(codec.Layout(RESULT_LAYOUT).encode(values)) == expected


ODD = st.sampled_from([None, 1, 2**63, -1, 1.5, True, "a", "\ud800", b"a", bytearray(b"b"), {}, {"a": 1}, {"a": "b"}])
ODD_LISTS = st.lists(ODD, max_size=2) | ODD | ODD.map(lambda value: (value,))
KINDS = ["string", "int", "bool", "bytes", "value_map", "string_map", "messages", "strings"]


@settings(max_examples=600)
@given(st.sampled_from(KINDS), ODD_LISTS)
def test_layouts_agree_on_ill_typed_values(kind: str, value: object) -> None:
    native = outcome(_core.Layout([(5, kind)]).encode, [value])
    assert native == outcome(reference.Layout([(5, kind)]).encode, [value])
