"""Proto messages -> JSON as REST would answer it, driven by their descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conductor_grpc.definitions.rules import Rules, rules_of
from conductor_grpc.definitions.schema import Field, Kind, Shape, fields_of
from conductor_grpc.payload import decode_map

if TYPE_CHECKING:
    from google.protobuf.message import Message


def export(message: Message) -> dict[str, object]:
    """The JSON object of a message, in the order of its fields.

    Left out is what stands for REST's null: empty strings, absent messages, a workflow task's retryCount -1.
    So are packed messages (google.protobuf.Any), which have no JSON.
    """
    rules = rules_of(message.DESCRIPTOR.full_name)
    json: dict[str, object] = {}
    for key, field in fields_of(message).items():
        if field.kind is Kind.ANY or (_has_presence(field) and not message.HasField(field.name)):
            continue
        value = _value(message, field)
        if not _stands_for_null(key, value, rules):
            json[key] = value
    return json


def _has_presence(field: Field) -> bool:
    return field.shape is Shape.ONE and field.kind in (Kind.MESSAGE, Kind.VALUE)


def _stands_for_null(key: str, value: object, rules: Rules) -> bool:
    if value == "" or (key in rules.nullable and not value):
        return True
    return value == -1 and rules.defaults.get(key) == -1


def _value(message: Message, field: Field) -> object:
    held: Any = getattr(message, field.name)
    if field.shape is Shape.LIST:
        return [_item(field, item) for item in held]
    if field.shape is Shape.ONE:
        return _item(field, held)
    if field.kind is Kind.VALUE:
        return decode_map(message.SerializeToString(), field.number)
    return {key: _item(field, item) for key, item in held.items()}


def _item(field: Field, item: Any) -> object:
    if field.kind is Kind.ENUM:
        # A number that this version has no name for stays a number.
        return next((name for name, number in field.numbers.items() if number == item), item)
    if field.kind is Kind.TASKS:
        return [export(task) for task in item.tasks]
    if field.kind is Kind.VALUE:
        return item.string_value  # the only kind the server accepts, see from_json
    return export(item) if field.kind is Kind.MESSAGE else item
