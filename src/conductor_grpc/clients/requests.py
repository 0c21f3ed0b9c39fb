"""The request that starts a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.definitions import workflow_definition_to_proto
from conductor_grpc.pb.model import startworkflowrequest_pb2
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef

if TYPE_CHECKING:
    from collections.abc import Mapping


def start_request(
    *,
    name: str,
    version: int | None,
    correlation_id: str,
    priority: int,
    task_to_domain: Mapping[str, str] | None,
    workflow_definition: Mapping[str, object] | str | WorkflowDef | None,
    external_input_payload_storage_path: str,
    created_by: str,
) -> startworkflowrequest_pb2.StartWorkflowRequest:
    """A StartWorkflowRequest without its input. Raises ValueError, DefinitionError."""
    if not 0 <= priority <= 99:
        raise ValueError(f"priority {priority}: expected 0 to 99 (REST refuses others, gRPC would store them)")
    if version is not None and version < 1:
        raise ValueError(f"version {version}: expected 1 or more, or None for the latest")
    definition = _definition(workflow_definition)
    if definition is not None and definition.name != name:
        raise ValueError(f"name {name!r} is not the name of the given definition, {definition.name!r}")
    return startworkflowrequest_pb2.StartWorkflowRequest(
        name=name,
        version=version or 0,
        correlation_id=correlation_id,
        priority=priority,
        task_to_domain=dict(task_to_domain or {}),
        workflow_def=definition,
        external_input_payload_storage_path=external_input_payload_storage_path,
        created_by=created_by,
    )


def _definition(given: Mapping[str, object] | str | WorkflowDef | None) -> WorkflowDef | None:
    if given is None or isinstance(given, WorkflowDef):
        return given
    return workflow_definition_to_proto(given)
