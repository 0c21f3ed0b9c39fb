"""What is known about one type: how a JSON value becomes it, and the JSON Schema of the values that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.inputs.conversion import Converter

Schema: TypeAlias = dict[str, Any]
SchemaOf: TypeAlias = "Callable[[Definitions], Schema]"


class Definitions:
    """The `$defs` of one schema, filled while it is made."""

    def __init__(self, *, output: bool) -> None:
        """
        Args:
            output: Whether the schema is of what is sent, where every field is present, not of what is accepted.
        """
        self.output = output
        self.schemas: dict[str, Schema] = {}
        self._names: dict[object, str] = {}

    def reference(self, owner: object, name: str, build: Callable[[], Schema]) -> Schema:
        """A `$ref` to the schema of `owner`, which is built at its first use and may refer to itself."""
        known = self._names.get(owner)
        if known is None:
            known = self._names[owner] = self._free(name)
            self.schemas[known] = {}  # takes the name, for what is built meanwhile
            self.schemas[known] = build()
        return {"$ref": f"#/$defs/{known}"}

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self.schemas:
            number += 1
            free = f"{name}_{number}"
        return free


class Rule(NamedTuple):
    """The rule for one type."""

    convert: Converter
    schema: SchemaOf


def fixed(schema: Schema) -> SchemaOf:
    """For a type whose schema is always this one."""
    return lambda _: dict(schema)
