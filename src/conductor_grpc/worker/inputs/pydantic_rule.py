"""Types that pydantic knows and this package does not: its models, constraints, and much of the standard library.

pydantic is an extra and loaded only when a worker's annotation needs it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.inputs.conversion import Converter, Mismatch, shown
from conductor_grpc.worker.inputs.rule import Definitions, Rule, Schema, SchemaOf

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import TypeAdapter

Adapter: TypeAlias = "TypeAdapter[Any]"

_PACKAGES: Final = ("pydantic", "pydantic_core", "pydantic_extra_types", "annotated_types")
_CONSTRAINTS: Final = ("FieldInfo", "StringConstraints", "Strict", "AllowInfNan")
"""Metadata of pydantic's that says which values fit and changes none; so does everything of annotated_types."""


def is_pydantic_class(annotation: type) -> bool:
    """Whether it is a model, or a pydantic dataclass."""
    return hasattr(annotation, "__pydantic_core_schema__")


def is_pydantic(metadata: object) -> bool:
    """Whether it is something that pydantic heeds within `Annotated[...]`, or as a default."""
    package = type(metadata).__module__.partition(".")[0]
    return package in _PACKAGES or hasattr(metadata, "__get_pydantic_core_schema__")


def is_constraint(metadata: object) -> bool:
    """Whether this metadata of pydantic's says which values fit, and changes none."""
    if getattr(metadata, "discriminator", None) is not None:  # of a Field, which tells the members of a union apart
        return False
    cls = type(metadata)
    return cls.__module__.partition(".")[0] == "annotated_types" or cls.__name__ in _CONSTRAINTS


def refuse_without_effect(metadata: Iterable[object]) -> None:
    """A default or a name that a Field(...) has for the value around it, which only a model heeds.

    Raises:
        WorkerDefinitionError: One of these has any.
    """
    for each in metadata:
        if type(each).__name__ != "FieldInfo":
            continue
        said: Any = each
        if said.alias is not None or said.validation_alias is not None:
            raise WorkerDefinitionError(
                "a Field(alias=...) has no effect outside of a model: name parameter or field as the input is called"
            )
        if not said.is_required():
            raise WorkerDefinitionError(
                "a Field(default=...) has no effect outside of a model: write x: Annotated[int, Field(...)] = 1"
            )


def refuse_as_default(default: object) -> None:
    """A Field(...) in the place of a default, which would be taken for the value.

    Raises:
        WorkerDefinitionError: It is one.
    """
    if is_pydantic(default) and type(default).__name__ == "FieldInfo":
        raise WorkerDefinitionError(
            "its default is a Field(...), which would be its value: write x: Annotated[int, Field(...)] = 1"
        )


def pydantic_rule(annotation: Any, name: str) -> Rule:
    """The rule for a type that pydantic alone knows: it accepts what pydantic accepts, and null for what is absent.

    Raises:
        WorkerDefinitionError: pydantic is not installed, or does not know the type either.
    """
    adapter = _adapter(annotation, name)
    return Rule(_checked(adapter, hide=_hides_input(annotation)), _schema_of(adapter))


def constrained(own: Rule, annotation: Any, name: str) -> Rule:
    """`own`, the rule for the bare type, with the constraints that `annotation` adds checked by pydantic.

    Raises:
        WorkerDefinitionError: pydantic is not installed, or the constraints do not go with the type.
    """
    adapter = _adapter(annotation, name)
    from pydantic import ValidationError

    theirs = _schema_of(adapter)

    def convert(value: object) -> object:
        converted = own.convert(value)
        try:
            return adapter.validate_python(converted)
        except ValidationError as error:
            raise _mismatch(error.errors(), value) from None
        except Exception as error:  # what it says to a constraint on Any that does not go with the value
            raise _refused(error) from error

    def schema(definitions: Definitions) -> Schema:
        bare, full = own.schema(definitions), theirs(definitions)
        if "type" in bare and bare["type"] == full.get("type"):
            return {**full, **bare}
        return {"allOf": [bare, full]}

    return Rule(convert, schema)


def _hides_input(annotation: Any) -> bool:
    """Whether it is a model, or a pydantic dataclass, whose values are to stay out of messages."""
    config = getattr(annotation, "model_config", None) or getattr(annotation, "__pydantic_config__", None)
    return isinstance(config, dict) and config.get("hide_input_in_errors") is True


def _adapter(annotation: Any, name: str) -> Adapter:
    try:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError
    except ImportError:
        raise WorkerDefinitionError(
            f"unsupported annotation {name}: pydantic, which may know it, is not installed: pip install"
            " 'conductor-grpc-client[pydantic]'"
        ) from None
    try:
        adapter: Adapter = TypeAdapter(annotation)
        if not isinstance(annotation, type) or not is_pydantic_class(annotation):
            adapter.json_schema()  # refuses what no JSON value can be, such as a callable
    except PydanticUserError as error:
        raise WorkerDefinitionError(
            f"unsupported annotation {name}, and pydantic says: {error.message.partition('. ')[0]}"
        ) from error
    except Exception as error:  # pydantic's answer to what is no type at all
        raise WorkerDefinitionError(
            f"unsupported annotation {name}: pydantic fails with {type(error).__name__}: {error}"
        ) from error
    return adapter


def _schema_of(adapter: Adapter) -> SchemaOf:
    from pydantic.errors import PydanticUserError

    def schema(definitions: Definitions) -> Schema:
        suffix, number = "", 1
        while True:
            try:
                made = adapter.json_schema(
                    mode="serialization" if definitions.output else "validation",
                    ref_template=f"#/$defs/{{model}}{suffix}",
                )
            except PydanticUserError as error:  # a field that no JSON value can be
                raise WorkerDefinitionError(f"pydantic says: {error.message.partition('. ')[0]}") from error
            theirs = {key + suffix: value for key, value in made.pop("$defs", {}).items()}
            taken = definitions.schemas
            if all(taken.get(key, value) == value for key, value in theirs.items()):
                taken.update(theirs)
                return made
            number += 1
            suffix = f"_{number}"

    return schema


def _checked(adapter: Adapter, *, hide: bool) -> Converter:
    from pydantic import ValidationError

    def convert(value: object) -> object:
        try:
            try:
                return adapter.validate_python(value)
            except ValidationError:
                return _checked_again(adapter, value, hide=hide)
        except Mismatch:
            raise
        except Exception as error:  # a validator of the user's
            raise _refused(error) from error

    return convert


def _refused(error: Exception) -> Mismatch:
    return Mismatch(f"refused: {type(error).__name__}: {error}")


def _checked_again(adapter: Adapter, value: object, *, hide: bool) -> object:
    """As JSON, where a strict model takes a date from text; then without the nulls that it does not admit."""
    from pydantic import ValidationError

    text = json.dumps(value)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        found = error.errors()
    nulls = {each["loc"]: place for each in found if each["input"] is None and (place := _place(each["loc"], value))}
    absent = {loc: place for loc, place in nulls.items() if _is_field(adapter, text, place)}
    if not absent:
        raise _mismatch(found, value, hide=hide)
    present = json.loads(text)
    for place in absent.values():
        _object_at(present, place).pop(place[-1], None)
    try:
        return adapter.validate_json(json.dumps(present))
    except ValidationError as without:
        # A null that is as good as absent is no error, whatever else there is.
        wrong = {each["loc"] for each in without.errors()}
        told = [each for each in found if each["loc"] in wrong or each["loc"] not in absent]
        raise _mismatch(told or without.errors(), value, hide=hide) from None


def _is_field(adapter: Adapter, text: str, place: list[str | int]) -> bool:
    """Whether a null stands in a field of a model, not in a dict or a list.

    Told by what pydantic says to the same null under a name that no field has: a dict has entries of any name.
    """
    from pydantic import ValidationError

    probed = json.loads(text)
    around = _object_at(probed, place)
    if not isinstance(around, dict):
        return False
    name = max(around) + "\0"  # which is neither one of them nor a field
    around[name] = around.pop(place[-1])
    try:
        adapter.validate_json(json.dumps(probed))
    except ValidationError as error:
        return not any(name in each["loc"] and each["type"] != "extra_forbidden" for each in error.errors())
    return True


def _object_at(value: Any, place: list[str | int]) -> Any:
    """What the last part of the place is a part of."""
    for part in place[:-1]:
        value = value[part]
    return value


def _place(location: Sequence[str | int], value: Any) -> list[str | int]:
    """The keys and indices that pydantic's `loc` has among the names of the types that it tried."""
    place: list[str | int] = []
    for part in location:
        inside = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            value = value[part]
            place.append(part)
    return place


def _mismatch(errors: Iterable[Any], value: object, *, hide: bool = False) -> Mismatch:
    """All that pydantic finds wrong with a value, in the words of the other types."""
    first, *others = [_one_mismatch(each, value, hide) for each in errors]
    for other in others:
        first.joined(other)
    return first


def _one_mismatch(error: Any, value: object, hide: bool) -> Mismatch:
    place = _place(error["loc"], value)
    message, given = error["msg"], error["input"]
    if error["type"] == "missing":
        names = ", ".join(map(repr, list(given)[:20])) if isinstance(given, dict) else ""
        return Mismatch(f"missing, and it has no default (given: {names or 'none'})", _path([*place, error["loc"][-1]]))
    if message.startswith("Input should be "):
        message = f"expected {message.removeprefix('Input should be ')}"
    return Mismatch(message if hide else f"{message}, got {shown(given)}", _path(place))


def _path(place: Sequence[str | int]) -> str:
    return "".join(f".{part}" if isinstance(part, str) and part.isidentifier() else f"[{part!r}]" for part in place)
