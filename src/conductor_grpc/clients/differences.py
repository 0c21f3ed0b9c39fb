"""Where two definitions differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conductor_grpc.definitions.from_json import child
from conductor_grpc.definitions.rules import rules_of

# What REST adds, or spells out where gRPC has no field: no difference if it is empty.
_SERVER_OWNED = frozenset().union(*(rules_of(f"conductor.proto.{name}").ignored for name in ("TaskDef", "SchemaDef")))


def differing_paths(stored: object, wanted: object, *, most: int = 8) -> list[str]:
    """The JSON paths at which `wanted` is not what is `stored`; empty if they are equal.

    Absent, null and empty are the same; so are 3 and 3.0; keys that belong to the server do not count. After
    `most` paths the list ends with how many more there are.
    """
    paths = list(_differing(stored, wanted, "$"))
    return paths if len(paths) <= most else [*paths[:most], f"{len(paths) - most} more"]


def _differing(stored: object, wanted: object, path: str) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in sorted(stored.keys() | wanted.keys()):
            if key not in _SERVER_OWNED:
                yield from _differing(stored.get(key), wanted.get(key), child(path, key))
    elif isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        for index, pair in enumerate(zip(stored, wanted, strict=True)):
            yield from _differing(*pair, f"{path}[{index}]")
    elif stored != wanted and not (_empty(stored) and _empty(wanted)):
        yield path


def _empty(value: object) -> bool:
    return value is None or value is False or value in ("", [], {}, 0)
