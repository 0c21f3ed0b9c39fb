"""Where two definitions differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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

_NULL_MEANS = {"joinMode": "ASYNC", "retryCount": -1, "type": "JSON"}
"""What null or absent means to the server, where it is not what is empty: 0 turns a task's retries off. The type is
that of a schema; a task has one."""


@dataclass(frozen=True)
class Difference:
    """One place at which two definitions differ. Absent is None."""

    path: str
    """The JSON path, `$.tasks[0].name`."""
    stored: object
    wanted: object


def differences(stored: object, wanted: object) -> list[Difference]:
    """Where the definition `wanted` is not what is `stored`; empty if they are equal.

    Keys that belong to the server do not count. Absent, null and empty settings are the same. So are 3 and 3.0.
    """
    return list(_differing(stored, wanted, "$"))


def differing_paths(stored: object, wanted: object, *, most: int = 8) -> list[str]:
    """The paths of `differences`. After `most` of them the list ends with how many more there are."""
    paths = [each.path for each in differences(stored, wanted)]
    return paths if len(paths) <= most else [*paths[:most], f"{len(paths) - most} more"]


def _differing(stored: object, wanted: object, path: str) -> Iterator[Difference]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in sorted((stored.keys() | wanted.keys()) - _SERVER_OWNED - _meaningless(wanted)):
            old, new = (_NULL_MEANS.get(key) if side.get(key) is None else side[key] for side in (stored, wanted))
            if key not in _DATA:
                yield from _differing(old, new, child(path, key))
            elif _canonical(old or {}) != _canonical(new or {}):
                yield Difference(child(path, key), old, new)
    elif isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        for index, (old, new) in enumerate(zip(stored, wanted, strict=True)):
            yield from _differing(old, new, f"{path}[{index}]")
    elif stored != wanted and (stored or wanted):
        yield Difference(path, stored, wanted)


def _meaningless(task: Mapping[str, object]) -> frozenset[str]:
    """Over gRPC the null that REST stores as a task's joinMode comes as SYNC, which only a JOIN minds."""
    return frozenset() if str(task.get("type", "JOIN")).endswith("JOIN") else frozenset({"joinMode"})


def _canonical(value: object) -> str:
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: object) -> object:
    """With 3.0 as 3: over gRPC a whole number has no other form, by REST it has both."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
