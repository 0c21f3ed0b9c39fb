"""JSON as Conductor's documentation, UI and REST use it -> proto messages, driven by their descriptors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from conductor_grpc.definitions.rules import rules_of
from conductor_grpc.definitions.schema import Field, Kind, Shape, fields_of
from conductor_grpc.errors import DefinitionError, PayloadEncodeError
from conductor_grpc.payload import encode_map

if TYPE_CHECKING:
    from google.protobuf.message import Message

_INTEGER_BOUNDS = {Kind.INT32: (-(2**31), 2**31 - 1), Kind.INT64: (-(2**63), 2**63 - 1)}


def fill(message: Message, json: object, path: str, *, lenient: bool = False) -> None:
    """Sets the fields of an empty `message` from a JSON object and the defaults of its type.

    Absent and null mean the same. Raises DefinitionError, with the JSON path of the offending value, for an
    unknown key, for a value of the wrong type and for what gRPC cannot carry. `lenient` leaves out what is
    unknown or cannot be carried: for definitions that the server itself sent.
    """
    given = _present(_object(json, path), path)
    rules = rules_of(message.DESCRIPTOR.full_name)
    fields = fields_of(message)
    for key, value in (dict(rules.defaults) | given).items():
        here = child(path, key)
        if key in fields:
            _set(message, fields[key], value, here, lenient)
        elif lenient or key in rules.ignored:
            continue
        elif key not in rules.refused:
            fail(here, f"unknown key {key!r} {_suggestion(key, fields)}")
        elif value not in ({}, [], "", 0):  # False == 0: an export spells out what is off
            fail(here, f"gRPC has no field for {key!r}: {rules.refused[key]}")


def child(path: str, *keys: str) -> str:
    """The path of a key, or of keys in each other, below `path`: `$.tasks`, `$.cases['a b']`."""
    for key in keys:
        path += f".{key}" if key.isidentifier() else f"[{key!r}]"
    return path


def fail(path: str, message: str) -> NoReturn:
    """Raises the DefinitionError for the value at `path`."""
    raise DefinitionError(f"{path}: {message}", path)


def _present(json: Mapping[object, object], path: str) -> dict[str, object]:
    for key in json:
        if not isinstance(key, str):
            fail(path, f"the key {key!r} is a {_json_type(key)}; JSON keys are strings")
    return {str(key): value for key, value in json.items() if value is not None}


def _suggestion(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"(did you mean {near[0]!r}?)" if near else f"(known keys: {', '.join(names)})"


def _set(message: Message, field: Field, value: object, path: str, lenient: bool) -> None:
    if field.shape is Shape.MAP:
        _set_map(message, field, value, path, lenient)
    elif field.shape is Shape.LIST:
        _set_list(message, field, value, path, lenient)
    elif field.kind is Kind.MESSAGE:
        nested: Message = getattr(message, field.name)
        nested.SetInParent()
        fill(nested, value, path, lenient=lenient)
    elif field.kind is Kind.VALUE:
        if isinstance(value, str) or not lenient:
            getattr(message, field.name).string_value = _reference(value, path)
    elif field.kind is not Kind.ANY:
        setattr(message, field.name, _scalar(field, value, path))
    elif not lenient:
        fail(path, f"{field.key!r} holds a packed proto message and cannot be given as JSON: use the map")


def _set_map(message: Message, field: Field, value: object, path: str, lenient: bool) -> None:
    entries = _object(value, path)
    if field.kind is Kind.VALUE:
        try:
            message.MergeFromString(encode_map(entries, field.number, "string" if lenient else "error"))
        except PayloadEncodeError as error:
            here = f"{path}.{error.path}" if error.path else path
            raise DefinitionError(f"{here}: {error}", here) from error
        return
    target = getattr(message, field.name)
    for key, item in _present(entries, path).items():
        here = child(path, key)
        if field.kind is Kind.TASKS:
            _fill_tasks(target[key], item, here, lenient)
        else:
            target[key] = _scalar(field, item, here)


def _set_list(message: Message, field: Field, value: object, path: str, lenient: bool) -> None:
    target = getattr(message, field.name)
    for index, item in enumerate(_list(value, path)):
        here = f"{path}[{index}]"
        if field.kind is Kind.TASKS:
            _fill_tasks(target.add(), item, here, lenient)
        elif field.kind is Kind.MESSAGE:
            fill(target.add(), item, here, lenient=lenient)
        else:
            target.append(_scalar(field, item, here))


def _fill_tasks(message: Message, value: object, path: str, lenient: bool) -> None:
    _set_list(message, fields_of(message)["tasks"], value, path, lenient)


def _reference(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    fail(
        path,
        f"a {_json_type(value)} here cannot be sent over gRPC: the server accepts only an expression such as"
        ' "${workflow.input.definition}". Register the sub-workflow on its own and name it here',
    )


def _scalar(field: Field, value: object, path: str) -> object:
    if field.kind is Kind.ENUM:
        return _enum_number(field, value, path)
    if field.kind is Kind.BOOL:
        return value if isinstance(value, bool) else _wrong_type(path, value, "true or false")
    if field.kind is Kind.STRING:
        return value if isinstance(value, str) else _wrong_type(path, value, "a string")
    return _integer(field, value, path)


def _integer(field: Field, value: object, path: str) -> int:
    if isinstance(value, float) and value.is_integer():  # JSON does not tell 3.0 from 3
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _wrong_type(path, value, "a whole number")
    low, high = _INTEGER_BOUNDS[field.kind]
    if not low <= value <= high:
        fail(path, f"{value} is out of range: expected {low} to {high}")
    return value


def _enum_number(field: Field, value: object, path: str) -> int:
    if not isinstance(value, str) or value not in field.numbers:
        near = difflib.get_close_matches(str(value).upper(), field.numbers, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        fail(path, f"{value!r} is not one of {', '.join(field.numbers)}{hint}")
    return field.numbers[value]


def _object(value: object, path: str) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else _wrong_type(path, value, "an object")


def _list(value: object, path: str) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else _wrong_type(path, value, "a list")


_JSON_TYPES = (
    (bool, "boolean"),
    (str, "string"),
    ((int, float), "number"),
    (Mapping, "object"),
    ((list, tuple), "list"),
)


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), type(value).__name__)


def _wrong_type(path: str, value: object, expected: str) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    fail(path, f"expected {expected}, got the {_json_type(value)} {shown}")
