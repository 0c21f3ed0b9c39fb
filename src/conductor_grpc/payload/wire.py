"""Dataclasses read straight from the wire, their layout declared beside each attribute."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from conductor_grpc.payload import Layout

_DEFAULTS: dict[str, Any] = {"string": "", "int": 0, "bool": False, "bytes": b""}
_FACTORIES: dict[str, Any] = {"value_map": dict, "string_map": dict, "strings": list, "messages": list}


def wire(number: int, kind: str, *, default: Any = None) -> Any:
    """A dataclass field that is field `number` of the message; `kind` as for `payload.Layout`.

    `default` None: what an absent field of the kind means. Bytes, opaque to people, are left out of the repr.
    """
    metadata = {"wire": (number, kind)}
    if kind in _FACTORIES:
        return field(default_factory=_FACTORIES[kind], metadata=metadata)
    return field(default=_DEFAULTS[kind] if default is None else default, repr=kind != "bytes", metadata=metadata)


class WireReader:
    """Decodes messages to the keyword arguments of a dataclass made of `wire` fields."""

    def __init__(self, cls: type[Any]) -> None:
        declared = [(each.name, each.metadata["wire"]) for each in fields(cls) if "wire" in each.metadata]
        self._names = [name for name, _ in declared]
        self._layout = Layout([place for _, place in declared])

    def read(self, data: bytes) -> dict[str, Any]:
        """The attributes by name. Raises PayloadDecodeError."""
        return dict(zip(self._names, self._layout.decode(data), strict=True))
