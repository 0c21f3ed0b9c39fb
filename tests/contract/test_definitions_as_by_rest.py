"""A definition that our own client registers is stored as the same JSON would be by REST.

Where the server has REST it is asked; what it answered is written down here for the one that has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rest_calls import rest

from conductor_grpc.clients import MetadataClient
from conductor_grpc.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

MINIMAL_TASK: Json = {
    "retryCount": 3,
    "timeoutSeconds": 0,
    "inputKeys": [],
    "outputKeys": [],
    "timeoutPolicy": "TIME_OUT_WF",
    "retryLogic": "FIXED",
    "retryDelaySeconds": 60,
    "responseTimeoutSeconds": 3600,
    "inputTemplate": {},
    "rateLimitPerFrequency": 0,
    "rateLimitFrequencyInSeconds": 1,
    "backoffScaleFactor": 1,
    "totalTimeoutSeconds": 0,
    "taskStatusListenerEnabled": True,
    "maxRetryDelaySeconds": 0,
    "backoffJitterMs": 0,
}
MINIMAL_WORKFLOW: Json = {
    "version": 1,
    "inputParameters": [],
    "outputParameters": {},
    "schemaVersion": 2,
    "restartable": True,
    "workflowStatusListenerEnabled": False,
    "timeoutPolicy": "ALERT_ONLY",
    "timeoutSeconds": 0,
    "variables": {},
    "inputTemplate": {},
    "enforceSchema": True,
    "metadata": {},
    "maskedFields": [],
}
MINIMAL_WORKFLOW_TASK: Json = {
    "inputParameters": {},
    "type": "SIMPLE",
    "decisionCases": {},
    "defaultCase": [],
    "forkTasks": [],
    "startDelay": 0,
    "joinOn": [],
    "optional": False,
    "defaultExclusiveJoinTask": [],
    "asyncComplete": False,
    "loopOver": [],
    "permissive": False,
    "metadata": {},
}

LEAF: Json = {"name": "t", "taskReferenceName": "leaf"}
CASE: Json = {"name": "t", "taskReferenceName": "case"}
SUB: Json = {"name": "s", "taskReferenceName": "s", "type": "SUB_WORKFLOW", "subWorkflowParam": {"name": "other"}}
JOIN: Json = {"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["leaf"]}
FORK: Json = {"name": "f", "taskReferenceName": "f", "type": "FORK_JOIN"}
SWITCH: Json = {
    "name": "w",
    "taskReferenceName": "w",
    "type": "SWITCH",
    "evaluatorType": "value-param",
    "expression": "which",
    "inputParameters": {"which": "a"},
}
DEFINED: Json = {"name": "e", "taskReferenceName": "e"}

# -- pairs of what is registered and what REST then stores --

TASKS: dict[str, tuple[Json, Json]] = {
    "minimal": ({}, MINIMAL_TASK),
    "nulls": ({"description": None, "ownerEmail": None, "concurrentExecLimit": None}, MINIMAL_TASK),
    "zeros": (
        {"retryCount": 0, "retryDelaySeconds": 0, "rateLimitFrequencyInSeconds": 0},
        {**MINIMAL_TASK, "retryCount": 0, "retryDelaySeconds": 0, "rateLimitFrequencyInSeconds": 0},
    ),
}
WORKFLOWS: dict[str, tuple[Json, Json]] = {
    "minimal": ({"tasks": [LEAF]}, {**MINIMAL_WORKFLOW, "tasks": [{**MINIMAL_WORKFLOW_TASK, **LEAF}]}),
    "retries turned off": (
        {"tasks": [{**LEAF, "retryCount": 0}]},
        {**MINIMAL_WORKFLOW, "tasks": [{**MINIMAL_WORKFLOW_TASK, **LEAF, "retryCount": 0}]},
    ),
    "nested": (
        {"tasks": [{**FORK, "forkTasks": [[LEAF]]}, JOIN, SUB, {**SWITCH, "decisionCases": {"a": [CASE]}}]},
        {
            **MINIMAL_WORKFLOW,
            "tasks": [
                {**MINIMAL_WORKFLOW_TASK, **FORK, "forkTasks": [[{**MINIMAL_WORKFLOW_TASK, **LEAF}]]},
                {**MINIMAL_WORKFLOW_TASK, **JOIN},
                {**MINIMAL_WORKFLOW_TASK, **SUB},
                {**MINIMAL_WORKFLOW_TASK, **SWITCH, "decisionCases": {"a": [{**MINIMAL_WORKFLOW_TASK, **CASE}]}},
            ],
        },
    ),
    "inline task definition": (
        {"tasks": [{**DEFINED, "taskDefinition": {"name": "e"}}]},
        {
            **MINIMAL_WORKFLOW,
            "tasks": [{**MINIMAL_WORKFLOW_TASK, **DEFINED, "taskDefinition": {"name": "e", **MINIMAL_TASK}}],
        },
    ),
}

# -- from REST's JSON to what comes back over gRPC --

NOT_ON_THE_WIRE = {"createTime", "updateTime", "createdBy", "runtimeMetadata", "onStateChange"}


def over_grpc(stored: Any) -> Any:
    """What of REST's JSON is on the wire, and what the client sends for a null that the wire does not have."""
    if isinstance(stored, list):
        return [over_grpc(item) for item in stored]
    if not isinstance(stored, dict):
        return stored
    carried = {key: over_grpc(item) for key, item in stored.items() if key not in NOT_ON_THE_WIRE}
    if "taskReferenceName" in carried:
        carried["joinMode"] = "ASYNC"
    if "subWorkflowParam" in carried:
        carried["subWorkflowParam"]["taskToDomain"] = {}
    if "retryLogic" in carried:  # a task definition: this switch concerns schemas, which gRPC does not carry
        carried.pop("enforceSchema", None)
    return carried


@pytest.fixture
def client(server) -> Iterator[MetadataClient]:
    """Of gRPC alone: what it reads back came over gRPC."""
    with MetadataClient(Configuration(target=server.target)) as client:
        yield client


@pytest.mark.parametrize("case", TASKS)
def test_a_task_definition_of_our_client(server, client: MetadataClient, case: str) -> None:
    given, stored = TASKS[case]
    name = server.unique()
    client.register_tasks([{"name": name, **given}])
    assert client.get_task(name) == over_grpc({"name": name, **stored})
    if server.base_url:
        by_rest = server.unique()
        rest(server, "POST", "/metadata/taskdefs", [{"name": by_rest, **given}])
        answer = rest(server, "GET", f"/metadata/taskdefs/{by_rest}")
        assert over_grpc(answer) == over_grpc({"name": by_rest, **stored})


@pytest.mark.parametrize("case", WORKFLOWS)
def test_a_workflow_definition_of_our_client(server, client: MetadataClient, case: str) -> None:
    given, stored = WORKFLOWS[case]
    name = server.unique("wf")
    client.register_workflow({"name": name, **given})
    assert client.get_workflow(name) == over_grpc({"name": name, **stored})
    if server.base_url:
        by_rest = server.unique("wf")
        rest(server, "PUT", "/metadata/workflow", [{"name": by_rest, **given}])
        answer = rest(server, "GET", f"/metadata/workflow/{by_rest}")
        assert over_grpc(answer) == over_grpc({"name": by_rest, **stored})
