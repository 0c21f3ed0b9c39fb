"""Values with names: the parameters of a function, the fields of a dataclass, the keys of a TypedDict."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload.plain import to_json
from conductor_grpc.worker.inputs.conversion import Converter, Mismatch, mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conductor_grpc.worker.inputs.rule import Definitions, Schema, SchemaOf


class Entry(NamedTuple):
    """One named value to take out of a JSON object."""

    name: str
    convert: Converter
    required: bool
    schema: SchemaOf = lambda _: {}
    default: object = ...
    """What holds when there is none, for the schema; `...` where it is not known."""

    def take(self, source: dict[str, Any], into: dict[str, object]) -> None:
        """Converts the value of this name, if there is one.

        null counts as absent where the type does not admit it: `${workflow.input.x}` arrives as null when the
        workflow was started without x, and that is what a default is for.
        """
        value = source.get(self.name)
        if value is None and self.name not in source:
            if self.required:
                given = ", ".join(map(repr, list(source)[:20])) or "none"
                raise Mismatch(f"missing, and it has no default (given: {given})", f".{self.name}")
            return
        try:
            into[self.name] = self.convert(value)
        except Mismatch as error:
            if value is None:
                if not self.required:
                    return
                error.message += " (a reference like ${workflow.input.x} that leads nowhere arrives as null)"
            error.within(f".{self.name}")
            raise

    def property_schema(self, definitions: Definitions) -> Schema:
        """The schema of the values that `take` accepts; of those that are sent, if the definitions are an output's."""
        schema = self.schema(definitions)
        if definitions.output or self.required:
            return schema
        if not _admits_null(self.convert):
            schema = {"anyOf": [schema, {"type": "null"}]}
        if self.default is not ...:
            with contextlib.suppress(PayloadEncodeError):  # it never travels, so it needs no JSON form
                schema = {**schema, "default": to_json(self.default)}
        return schema


def object_of(name: str, entries: Sequence[Entry], build: Callable[..., object]) -> Converter:
    """What `build` makes of the entries of an object, given by name. All that is wrong is told at once."""

    def convert(value: object) -> object:
        if not isinstance(value, dict):
            raise mismatch(f"an object for {name}", value)
        arguments: dict[str, object] = {}
        failure: Mismatch | None = None
        for entry in entries:
            try:
                entry.take(value, arguments)
            except Mismatch as error:  # noqa: PERF203 - the next one may be wrong as well
                failure = failure.joined(error) if failure else error
        if failure is not None:
            raise failure
        try:
            return build(**arguments)
        except Exception as error:  # the class's own __post_init__ judges the values
            raise Mismatch(f"{name} refused it: {type(error).__name__}: {error}") from error

    return convert


def object_schema(entries: Iterable[Entry], definitions: Definitions) -> Schema:
    """The schema of an object with these entries, and whatever else."""
    entries = list(entries)
    schema: Schema = {
        "type": "object",
        "properties": {entry.name: entry.property_schema(definitions) for entry in entries},
    }
    required = [entry.name for entry in entries if entry.required]
    return {**schema, "required": required} if required else schema


def _admits_null(convert: Converter) -> bool:
    try:
        convert(None)
    except Mismatch:
        return False
    return True
