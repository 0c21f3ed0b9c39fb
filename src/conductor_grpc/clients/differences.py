"""Where two definitions differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from conductor_grpc.definitions.from_json import child
from conductor_grpc.definitions.rules import rules_of
from conductor_grpc.definitions.schema import Kind, Shape, fields_of
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

_SERVER_OWNED = rules_of("conductor.proto.WorkflowDef").ignored

_DATA = frozenset(
    field.key
    for message in (TaskDef(), WorkflowDef(), WorkflowTask())
    for field in fields_of(message).values()
    if field.shape is Shape.MAP and field.kind is Kind.VALUE
)
"""Keys whose values are the user's data, in which empty and absent are not the same."""

_NULL_MEANS = {"joinMode": "ASYNC", "retryCount": -1}
"""What null or absent means to the server, where it is not what is empty: 0 turns a task's retries off."""


def differing_paths(stored: object, wanted: object, *, most: int = 8) -> list[str]:
    """The JSON paths at which the definition `wanted` is not what is `stored`; empty if they are equal.

    Keys that belong to the server do not count. Absent, null and empty settings are the same. So are 3 and
    3.0. After `most` paths the list ends with how many more there are.
    """
    paths = list(_differing(stored, wanted, "$"))
    return paths if len(paths) <= most else [*paths[:most], f"{len(paths) - most} more"]


def _differing(stored: object, wanted: object, path: str) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in sorted((stored.keys() | wanted.keys()) - _SERVER_OWNED):
            old, new = (_NULL_MEANS.get(key) if side.get(key) is None else side[key] for side in (stored, wanted))
            if key not in _DATA:
                yield from _differing(old, new, child(path, key))
            elif _canonical(old or {}) != _canonical(new or {}):
                yield child(path, key)
    elif isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        for index, (old, new) in enumerate(zip(stored, wanted, strict=True)):
            yield from _differing(old, new, f"{path}[{index}]")
    elif stored != wanted and (stored or wanted):
        yield path


def _canonical(value: object) -> str:
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: object) -> object:
    """With 3.0 as 3: over gRPC a whole number has no other form, by REST it has both."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
