"""Rules made of other rules: choices, unions, lists, sets, tuples and dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import PayloadEncodeError, WorkerDefinitionError
from conductor_grpc.payload.plain import to_json
from conductor_grpc.worker.inputs.conversion import (
    choice_of,
    dict_of,
    dict_with_keys,
    list_of,
    optional_of,
    tuple_of,
    union_of,
)
from conductor_grpc.worker.inputs.rule import Definitions, Rule, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def choice_rule(choices: Iterable[tuple[object, object]]) -> Rule:
    """One of some values: pairs of what travels, which need not be JSON yet, and what it becomes.

    Raises:
        WorkerDefinitionError: A value has no JSON form.
    """
    try:
        pairs: list[tuple[object, object]] = [(to_json(sent), choice) for sent, choice in choices]
    except PayloadEncodeError as error:
        raise WorkerDefinitionError(f"unsupported annotation: no input can be one of its values: {error}") from error
    return Rule(choice_of(pairs), lambda _: {"enum": [json for json, _ in pairs]})


def union_rule(members: Sequence[tuple[str, Rule]], *, nullable: bool) -> Rule:
    """One of several types, each with its name, and null beside them."""
    converters = [(name, rule.convert) for name, rule in members]
    convert = converters[0][1] if len(converters) == 1 else union_of(converters)

    def schema(definitions: Definitions) -> Schema:
        choices: list[Schema] = [rule.schema(definitions) for _, rule in members]
        return {"anyOf": [*choices, {"type": "null"}] if nullable else choices}

    return Rule(optional_of(convert) if nullable else convert, schema)


def array_rule(item: Rule, build: Callable[[list[object]], object] | None = None) -> Rule:
    """A list of any length, or what `build` makes of it."""

    def schema(definitions: Definitions) -> Schema:
        items = item.schema(definitions)
        return {"type": "array", "items": items} if items else {"type": "array"}

    return Rule(list_of(item.convert, build), schema)


def tuple_rule(members: Sequence[Rule], least: int, build: Callable[[list[object]], object] = tuple) -> Rule:
    """A list with a rule for each place, of which at least this many must be there.

    The members may be added after the rule is made.
    """

    def schema(definitions: Definitions) -> Schema:
        made: Schema = {"type": "array", "minItems": len(members) if definitions.output else least}
        if members:
            made["prefixItems"] = [member.schema(definitions) for member in members]
        return {**made, "maxItems": len(members)}

    return Rule(tuple_of(members, least, build), schema)


def dict_rule(value: Rule) -> Rule:
    """An object with any names."""

    def schema(definitions: Definitions) -> Schema:
        values = value.schema(definitions)
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}

    return Rule(dict_of(value.convert), schema)


def keyed_dict_rule(key: Rule, value: Rule, name: str) -> Rule:
    """An object whose names are of some type, such as an enum of texts.

    Raises:
        WorkerDefinitionError: The keys are not text.
    """
    definitions = Definitions(output=False)
    keys: Any = key.schema(definitions)
    keys = next(iter(definitions.schemas.values()), keys)
    if keys != {"type": "string"} and not all(isinstance(each, str) for each in keys.get("enum", [None])):
        raise WorkerDefinitionError(f"unsupported annotation {name}: the keys of a JSON object are str")
    values = dict_rule(value)
    return Rule(
        dict_with_keys(key.convert, values.convert),
        lambda definitions: {**values.schema(definitions), "propertyNames": key.schema(definitions)},
    )
