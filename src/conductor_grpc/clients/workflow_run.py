"""A workflow as the server answers it, over gRPC or REST."""

# ruff: noqa: RUF009 - wire() makes a dataclass field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conductor_grpc.clients.results import WORKFLOW_STATUSES, WorkflowStatus, member
from conductor_grpc.definitions import workflow_definition_to_json
from conductor_grpc.errors import PayloadDecodeError
from conductor_grpc.payload import JsonValue, Layout
from conductor_grpc.payload.wire import WireReader, wire
from conductor_grpc.pb.model import workflowdef_pb2
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFINITION_KEY = Layout([(1, "string"), (3, "int")])


@dataclass(frozen=True)
class Workflow:
    """One run of a workflow. Times are milliseconds since the epoch, 0 for "not yet"."""

    workflow_id: str = wire(3, "string")
    status: WorkflowStatus = wire(1, "int", default=WorkflowStatus.RUNNING)
    name: str = ""
    """The name of its definition."""
    version: int = 0
    """The version of its definition."""
    input: dict[str, JsonValue] = wire(8, "value_map")
    output: dict[str, JsonValue] = wire(9, "value_map")
    variables: dict[str, JsonValue] = wire(23, "value_map")
    tasks: tuple[Task, ...] = wire(6, "messages")
    """In the order in which they were scheduled; empty if they were not asked for."""
    correlation_id: str = wire(12, "string")
    reason_for_incompletion: str = wire(14, "string")
    end_time: int = wire(2, "int")
    last_retried_time: int = wire(24, "int")
    priority: int = wire(22, "int")
    parent_workflow_id: str = wire(4, "string")
    parent_workflow_task_id: str = wire(5, "string")
    re_run_from_workflow_id: str = wire(13, "string")
    event: str = wire(16, "string")
    task_to_domain: dict[str, str] = wire(17, "string_map")
    failed_reference_task_names: tuple[str, ...] = wire(18, "strings")
    failed_task_names: tuple[str, ...] = wire(25, "strings")
    external_input_payload_storage_path: str = wire(20, "string")
    """Where the server put an input of more than about 5 MiB; `input` is empty then."""
    external_output_payload_storage_path: str = wire(21, "string")
    history: tuple[Workflow, ...] = wire(26, "messages")
    _definition_wire: bytes = field(default=b"", repr=False, compare=False, metadata={"wire": (19, "bytes")})
    _definition_json: Mapping[str, object] | None = field(default=None, repr=False, compare=False)

    @property
    def definition(self) -> dict[str, object]:
        """The JSON of the definition that this run follows, as it was when the run started; parsed at each use."""
        if self._definition_json is not None:
            return dict(self._definition_json)
        return workflow_definition_to_json(workflowdef_pb2.WorkflowDef.FromString(self._definition_wire))

    def task(self, reference_name: str) -> Task:
        """The latest attempt of the task with this reference name. Raises KeyError, which names those there are."""
        for task in reversed(self.tasks):
            if task.reference_task_name == reference_name:
                return task
        known = ", ".join(sorted({task.reference_task_name for task in self.tasks})) or "none were read"
        raise KeyError(f"workflow {self.workflow_id} has no task {reference_name!r}; it has: {known}")

    @classmethod
    def from_wire(cls, data: bytes) -> Workflow:
        """From a serialised `conductor.proto.Workflow`. Raises PayloadDecodeError."""
        values = _WORKFLOW.read(data)
        values["status"] = member(WORKFLOW_STATUSES, values["status"], "workflow status")
        values["tasks"] = tuple(Task.from_wire(each) for each in values["tasks"])
        values["history"] = tuple(cls.from_wire(each) for each in values["history"])
        for name in ("failed_reference_task_names", "failed_task_names"):
            values[name] = tuple(values[name])
        values["name"], values["version"] = _DEFINITION_KEY.decode(values["_definition_wire"])
        return cls(**values)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Workflow:
        """From an answer of REST, integers intact. Raises PayloadDecodeError."""
        values: dict[str, Any] = {
            name: document[key] for name, key in _JSON_KEYS.items() if document.get(key) is not None
        }
        try:
            values["status"] = WorkflowStatus(document.get("status"))
        except ValueError as error:
            raise PayloadDecodeError(f"{error}: the server is newer than this client", "status") from None
        values["tasks"] = tuple(Task.from_json(each) for each in document.get("tasks") or ())
        values["history"] = tuple(cls.from_json(each) for each in document.get("history") or ())
        for name in ("failed_reference_task_names", "failed_task_names"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values, _definition_json=document.get("workflowDefinition") or {})


_WORKFLOW = WireReader(Workflow)

_JSON_KEYS = {
    "workflow_id": "workflowId",
    "name": "workflowName",
    "version": "workflowVersion",
    "input": "input",
    "output": "output",
    "variables": "variables",
    "correlation_id": "correlationId",
    "reason_for_incompletion": "reasonForIncompletion",
    "end_time": "endTime",
    "last_retried_time": "lastRetriedTime",
    "priority": "priority",
    "parent_workflow_id": "parentWorkflowId",
    "parent_workflow_task_id": "parentWorkflowTaskId",
    "re_run_from_workflow_id": "reRunFromWorkflowId",
    "event": "event",
    "task_to_domain": "taskToDomain",
    "failed_reference_task_names": "failedReferenceTaskNames",
    "failed_task_names": "failedTaskNames",
    "external_input_payload_storage_path": "externalInputPayloadStoragePath",
    "external_output_payload_storage_path": "externalOutputPayloadStoragePath",
}
