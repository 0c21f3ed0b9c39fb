"""A task as a worker sees it."""

# ruff: noqa: RUF009 - wire() makes a dataclass field, as dataclasses.field() does

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import DefinitionError, PayloadDecodeError
from conductor_grpc.payload import JsonValue, Layout
from conductor_grpc.payload.wire import wire
from conductor_grpc.worker.status import TASK_STATUSES, TaskStatus

if TYPE_CHECKING:
    from typing_extensions import Self

    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask


@dataclass(slots=True)
class Task:
    """A task that the server handed out, with the fields of `conductor.proto.Task`.

    Times are milliseconds since the epoch, 0 for "not yet"; strings that the server left out are "". Numbers
    in `input_data` and `output_data` are int where they are whole and within 2**53, else float, whether the
    task came over gRPC or REST (which keeps larger integers exact, too). The instance belongs to the worker that
    runs it: changing it changes nothing on the server, and it is not to be shared between threads without a lock.
    """

    task_type: str = wire(1, "string")
    status: TaskStatus = wire(2, "int", default=TaskStatus.IN_PROGRESS)
    input_data: dict[str, JsonValue] = wire(3, "value_map")
    reference_task_name: str = wire(4, "string")
    retry_count: int = wire(5, "int")
    """Which retry this is: 0 for the first attempt."""
    seq: int = wire(6, "int")
    correlation_id: str = wire(7, "string")
    poll_count: int = wire(8, "int")
    """How often this attempt was handed out; more than 1 after an IN_PROGRESS result or a hand-back."""
    task_def_name: str = wire(9, "string")
    scheduled_time: int = wire(10, "int")
    start_time: int = wire(11, "int")
    end_time: int = wire(12, "int")
    update_time: int = wire(13, "int")
    start_delay_in_seconds: int = wire(14, "int")
    retried_task_id: str = wire(15, "string")
    retried: bool = wire(16, "bool")
    executed: bool = wire(17, "bool")
    callback_from_worker: bool = wire(18, "bool")
    response_timeout_seconds: int = wire(19, "int")
    workflow_instance_id: str = wire(20, "string")
    workflow_type: str = wire(21, "string")
    task_id: str = wire(22, "string")
    reason_for_incompletion: str = wire(23, "string")
    callback_after_seconds: int = wire(24, "int")
    worker_id: str = wire(25, "string")
    output_data: dict[str, JsonValue] = wire(26, "value_map")
    """What the previous IN_PROGRESS result of this attempt left; a new result replaces it as a whole."""
    workflow_task_wire: bytes = wire(27, "bytes")
    """The serialised definition of this task in its workflow; `workflow_task` is the parsed one."""
    domain: str = wire(28, "string")
    input_message: bytes = wire(29, "bytes")
    """A serialised google.protobuf.Any, kept as it came."""
    output_message: bytes = wire(30, "bytes")
    """A serialised google.protobuf.Any, kept as it came."""
    rate_limit_per_frequency: int = wire(32, "int")
    rate_limit_frequency_in_seconds: int = wire(33, "int")
    external_input_payload_storage_path: str = wire(34, "string")
    """Where the server put an input of more than about 3 MiB; `input_data` is empty then."""
    external_output_payload_storage_path: str = wire(35, "string")
    workflow_priority: int = wire(36, "int")
    execution_name_space: str = wire(37, "string")
    isolation_group_id: str = wire(38, "string")
    iteration: int = wire(40, "int")
    """The round of the DO_WHILE loop around this task, from 1; 0 outside of a loop."""
    sub_workflow_id: str = wire(41, "string")
    subworkflow_changed: bool = wire(42, "bool")
    first_start_time: int = wire(43, "int")
    execution_metadata: bytes = wire(44, "bytes")
    """A serialised conductor.proto.ExecutionMetadata, kept as it came."""
    parent_task_id: str = wire(45, "string")
    runtime_metadata: dict[str, str] = wire(46, "string_map")
    _workflow_task_json: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    _workflow_task: WorkflowTask | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """The task in a serialised `conductor.proto.Task`.

        Raises:
            PayloadDecodeError: `data` is no such message, or has a status this version does not know.
        """
        values = list(_LAYOUT.decode(data))
        number = values[_STATUS]
        if not 0 <= number < len(TASK_STATUSES):
            raise PayloadDecodeError(
                f"task {values[_TASK_ID]!r} has the unknown status number {number} (known: 0 to"
                f" {len(TASK_STATUSES) - 1}): the server is newer than this client, upgrade the client",
                "status",
            )
        values[_STATUS] = TASK_STATUSES[number]
        return cls(*values)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The task in a REST answer: camelCase keys, integers intact.

        Keys that are missing or null get the defaults, unknown ones are ignored. The maps are not copied.

        Raises:
            PayloadDecodeError: `document` is no JSON object, or a value has the wrong type; `path` names its
                key.
        """
        if not isinstance(document, Mapping):
            raise PayloadDecodeError(f"a task must be a JSON object, not {type(document).__name__}")
        values: dict[str, Any] = {}
        for key, (name, read) in _JSON_FIELDS.items():
            value = document.get(key)
            if value is not None:
                values[name] = read(value, key)
        return cls(**values)

    @property
    def workflow_task(self) -> WorkflowTask:
        """The definition of this task in its workflow, parsed at the first use; an empty one if none came.

        Always the protobuf message, for a task that came by REST too, so that code reads the same whichever
        way the server delivered the task (which the user does not choose).

        Raises:
            PayloadDecodeError: The server sent something that is no such definition.
        """
        if self._workflow_task is None:
            self._workflow_task = _parse_workflow_task(self.workflow_task_wire, self._workflow_task_json)
        return self._workflow_task


def _parse_workflow_task(wire: bytes, document: Mapping[str, Any] | None) -> WorkflowTask:
    # Imported late: most workers never look at the definition, and JSON ones are for reclaimed tasks only.
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

    if document is None:
        try:
            return WorkflowTask.FromString(wire)
        except Exception as error:  # protobuf's DecodeError is another class in each of its implementations
            raise PayloadDecodeError(f"not a WorkflowTask: {error}", "workflow_task") from error
    from conductor_grpc.definitions import workflow_task_to_proto

    try:
        return workflow_task_to_proto(document)
    except DefinitionError as error:
        raise PayloadDecodeError(f"not a WorkflowTask: {error}", "workflowTask") from error


def _json_status(value: object, key: str) -> TaskStatus:
    try:
        return TaskStatus(value)
    except ValueError:
        raise PayloadDecodeError(
            f"unknown task status {value!r}: the server is newer than this client, upgrade the client", key
        ) from None


def _json_reader(kind: type) -> Callable[[object, str], object]:
    def read(value: object, key: str) -> object:
        # By exact type: JSON has no subclasses, and a bool would pass for an int.
        if type(value) is not kind:
            raise PayloadDecodeError(f"expected {kind.__name__}, got {value!r:.80}", key)
        return value

    return read


_KINDS: Final = {"string": str, "int": int, "bool": bool, "value_map": dict, "string_map": dict}


def _json_fields() -> dict[str, tuple[str, Callable[[object, str], object]]]:
    readers: dict[str, tuple[str, Callable[[object, str], object]]] = {}
    for each in fields(Task):
        kind = each.metadata["wire"][1] if "wire" in each.metadata else ""
        head, *rest = each.name.split("_")
        if kind in _KINDS:
            readers[head + "".join(word.capitalize() for word in rest)] = (
                each.name,
                _json_reader(_KINDS[kind]),
            )
    readers["status"] = ("status", _json_status)
    readers["workflowTask"] = ("_workflow_task_json", _json_reader(dict))
    return readers


_WIRE_FIELDS: Final = [each for each in fields(Task) if "wire" in each.metadata]
_LAYOUT: Final = Layout([each.metadata["wire"] for each in _WIRE_FIELDS])
_STATUS: Final = [each.name for each in _WIRE_FIELDS].index("status")
_TASK_ID: Final = [each.name for each in _WIRE_FIELDS].index("task_id")
_JSON_FIELDS: Final = _json_fields()


def without_payload(task: Task) -> Task:
    """What the server needs to know a task by, and how long it waits for its result."""
    return Task(
        task_id=task.task_id,
        workflow_instance_id=task.workflow_instance_id,
        task_def_name=task.task_def_name,
        worker_id=task.worker_id,
        poll_count=task.poll_count,
        response_timeout_seconds=task.response_timeout_seconds,
    )
