"""Messages written and read in the contract cases: payloads, workflow tasks, and the error of a failed call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

from conductor_grpc.pb.model.workflow_pb2 import Workflow
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conductor_grpc.pb.model.task_pb2 import Task

TERMINAL_WORKFLOW = frozenset(
    Workflow.WorkflowStatus.Value(name) for name in ("COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED")
)

# -- payloads --


def value(python: Any) -> Value:
    """A Value of JSON-like Python; a Value is taken as it is."""
    if isinstance(python, Value):
        return python
    if python is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(python, bool):
        return Value(bool_value=python)
    if isinstance(python, (int, float)):
        return Value(number_value=python)
    if isinstance(python, str):
        return Value(string_value=python)
    if isinstance(python, dict):
        return Value(struct_value=Struct(fields=values(python)))
    return Value(list_value=ListValue(values=[value(item) for item in python]))


def values(python: Mapping[str, Any]) -> dict[str, Value]:
    """What a ``map<string, Value>`` field takes."""
    return {key: value(item) for key, item in python.items()}


def plain(message_map: Mapping[str, Value]) -> dict[str, Any]:
    """A ``map<string, Value>`` field as Python; every number is a float."""
    return {key: _plain(item) for key, item in message_map.items()}


def _plain(item: Value) -> Any:
    kind = item.WhichOneof("kind")
    assert kind is not None, "the server sent a Value without a kind"
    if kind == "null_value":
        return None
    if kind == "struct_value":
        return plain(item.struct_value.fields)
    if kind == "list_value":
        return [_plain(part) for part in item.list_value.values]
    return getattr(item, kind)


# -- workflow tasks --


def simple(name: str, ref: str | None = None, **fields: Any) -> WorkflowTask:
    """A SIMPLE task for workers, its reference name the task's own if none is given."""
    return task_of("SIMPLE", ref or name, **{"name": name, **fields})


def task_of(kind: str, ref: str, **fields: Any) -> WorkflowTask:
    """A workflow task of any type that takes retries from its definition; ``input_parameters`` may be a plain dict."""
    inputs = values(fields.pop("input_parameters", {}))
    named = {"name": ref, "retry_count": -1, "join_mode": "ASYNC", **fields}
    return WorkflowTask(**named, type=kind, task_reference_name=ref, input_parameters=inputs)


def branch(*tasks: WorkflowTask) -> WorkflowTask.WorkflowTaskList:
    """One branch of a FORK_JOIN, or one case of a SWITCH."""
    return WorkflowTask.WorkflowTaskList(tasks=tasks)


# -- statuses --


def status(message: Task | Workflow) -> str:
    """The name of its status, which reads better in a failed comparison than a number."""
    name: str = message.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[message.status].name
    return name


def statuses(workflow: Workflow) -> list[str]:
    """The names of its tasks' statuses, in the order in which the server lists the tasks."""
    return [status(task) for task in workflow.tasks]


# -- errors --


class Failure(NamedTuple):
    """How a call failed."""

    code: grpc.StatusCode
    details: str
    java_class: str | None
    """The exception's short name in the DebugInfo trailer; None without a trailer."""


def error_of(call: Callable[[], Any]) -> Failure:
    """The error of a call that must fail. A stream is to be read to its end by the call itself."""
    try:
        answer = call()
    except grpc.RpcError as error:
        detail = debug_info(error)
        java_class = None if detail is None else detail.detail.partition(":")[0]
        return Failure(error.code(), error.details() or "", java_class)
    raise AssertionError(f"the call was expected to fail, it answered {answer!r}")


def debug_info(error: grpc.RpcError) -> Any:
    """The google.rpc.DebugInfo that the server puts where a google.rpc.Status belongs; None without a trailer."""
    for key, data in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return _DEBUG_INFO.FromString(data)
    return None


def _debug_info_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="contract/debug_info.proto", package="contract", syntax="proto3")
    message = file.message_type.add(name="DebugInfo")
    text = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    message.field.add(name="stack_entries", number=1, type=text, label="LABEL_REPEATED")
    message.field.add(name="detail", number=2, type=text, label="LABEL_OPTIONAL")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("contract.DebugInfo"))


_DEBUG_INFO = _debug_info_class()
