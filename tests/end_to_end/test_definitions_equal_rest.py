"""The same JSON registered by REST and over gRPC must be stored as the same definition.

Read back by REST, key by key. What gRPC cannot make equal is named in three tables, with the stored pair of
values; a difference outside of them fails, and so does an entry that no definition here needs.
"""

from __future__ import annotations

import copy
import json
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest

from conductor_grpc import Configuration
from conductor_grpc.definitions import task_definition_to_proto, workflow_definition_to_proto
from conductor_grpc.pb.services import metadata_service_pb2, metadata_service_pb2_grpc
from conductor_grpc.registration import Outcome, Registrar, Registration

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_server

# REST keeps null, which it answers by leaving the key out; a proto scalar has no null.
EMPTY_FOR_NULL = {
    "baseType": "",
    "caseExpression": "",
    "caseValueParam": "",
    "concurrentExecLimit": 0,
    "description": "",
    "dynamicForkTasksInputParamName": "",
    "dynamicForkTasksParam": "",
    "dynamicTaskNameParam": "",
    "evaluatorType": "",
    "executionNameSpace": "",
    "expression": "",
    "failureWorkflow": "",
    "failureWorkflowVersion": 0,
    "isolationGroupId": "",
    "items": "",
    "joinMode": "ASYNC",
    "joinStatus": "",
    "loopCondition": "",
    "ownerEmail": "",
    "pollTimeoutSeconds": 0,
    "rateLimited": False,
    "scriptExpression": "",
    "sink": "",
    "taskToDomain": {},
    "type": "JSON",
    "version": 0,
    "workflowStatusListenerSink": "",
}

# Below these keys a whole number is stored as floating point: google.protobuf.Value has one kind of number.
MAPS_OF_VALUES = {"inputParameters", "inputTemplate", "metadata", "outputParameters", "variables"}

# Set by the server, or different on purpose in the two copies.
NOT_COMPARED = {"name", "createTime", "updateTime", "createdBy", "updatedBy"}

SIMPLE = {"name": "equal_task", "taskReferenceName": "first"}

TASKS: dict[str, dict[str, object]] = {
    "minimal": {},
    "nulls": {"description": None, "ownerEmail": None, "concurrentExecLimit": None, "baseType": None},
    "seed_python": {
        "description": "Python task example",
        "retryCount": 3,
        "retryLogic": "FIXED",
        "retryDelaySeconds": 10,
        "timeoutSeconds": 300,
        "timeoutPolicy": "TIME_OUT_WF",
        "responseTimeoutSeconds": 180,
        "ownerEmail": "example@example.com",
    },
    "seed_cpp": {
        "description": "C++ Task Example",
        "retryCount": 3,
        "timeoutSeconds": 300,
        "inputKeys": [],
        "outputKeys": [],
        "timeoutPolicy": "TIME_OUT_WF",
        "retryLogic": "FIXED",
        "retryDelaySeconds": 10,
        "responseTimeoutSeconds": 180,
        "inputTemplate": {},
        "rateLimitPerFrequency": 0,
        "rateLimitFrequencyInSeconds": 1,
        "ownerEmail": "example@example.com",
        "backoffScaleFactor": 1,
    },
    "every_field": {
        "description": "every field has a value that is no default",
        "retryCount": 2,
        "timeoutSeconds": 100,
        "inputKeys": ["a", "b"],
        "outputKeys": ["c"],
        "timeoutPolicy": "RETRY",
        "retryLogic": "LINEAR_BACKOFF",
        "retryDelaySeconds": 7,
        "responseTimeoutSeconds": 50,
        "concurrentExecLimit": 4,
        "inputTemplate": {
            "text": "ä",
            "number": 3,
            "half": 0.5,
            "list": [1, [], {}],
            "no": False,
            "nothing": None,
        },
        "rateLimitPerFrequency": 3,
        "rateLimitFrequencyInSeconds": 9,
        "isolationGroupId": "group",
        "executionNameSpace": "space",
        "ownerEmail": "example@example.com",
        "pollTimeoutSeconds": 8,
        "backoffScaleFactor": 2,
        "baseType": "base",
        "totalTimeoutSeconds": 1000,
        "taskStatusListenerEnabled": False,
        "maxRetryDelaySeconds": 33,
        "backoffJitterMs": 5,
    },
    "zeros": {"retryCount": 0, "retryDelaySeconds": 0, "rateLimitFrequencyInSeconds": 0},
}

WORKFLOWS: dict[str, dict[str, object]] = {
    "minimal": {"tasks": [SIMPLE]},
    "nulls": {
        "tasks": [{**SIMPLE, "retryCount": None, "sink": None}],
        "failureWorkflow": None,
        "inputSchema": None,
    },
    "seed_python": {
        "description": "Workflow with Python Task example",
        "version": 1,
        "tasks": [
            {
                "name": "python_task_example",
                "taskReferenceName": "python_task_example_ref_1",
                "inputParameters": {},
                "type": "SIMPLE",
            }
        ],
        "inputParameters": [],
        "outputParameters": {"workerOutput": "${python_task_example_ref_1.output}"},
        "schemaVersion": 2,
        "restartable": True,
        "ownerEmail": "example@example.com",
        "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0,
    },
    "seed_cpp": {
        "description": "Workflow with C++ Task example",
        "version": 1,
        "tasks": [
            {
                "name": "cpp_task_example",
                "taskReferenceName": "cpp_task_example_ref_0",
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
            }
        ],
        "inputParameters": [],
        "outputParameters": {"workerOutput": "${cpp_task_example_ref_0.output}"},
        "schemaVersion": 2,
        "restartable": True,
        "workflowStatusListenerEnabled": False,
        "ownerEmail": "example@example.com",
        "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0,
        "variables": {},
        "inputTemplate": {},
    },
    "every_field": {
        "description": "every field has a value that is no default",
        "version": 3,
        "failureWorkflow": "other",
        "failureWorkflowVersion": 2,
        "timeoutPolicy": "TIME_OUT_WF",
        "timeoutSeconds": 55,
        "variables": {"count": 1},
        "inputTemplate": {"size": 2, "deep": {"list": [1, "x", None]}},
        "inputParameters": ["size"],
        "outputParameters": {"result": "${first.output}", "constant": 4},
        "restartable": False,
        "workflowStatusListenerEnabled": True,
        "workflowStatusListenerSink": "sink",
        "ownerEmail": "example@example.com",
        "rateLimitConfig": {"rateLimitKey": "key", "concurrentExecLimit": 2, "policy": "REJECT"},
        "inputSchema": {"name": "in", "version": 2, "type": "AVRO"},
        "outputSchema": {"name": "out"},
        "enforceSchema": False,
        "metadata": {"team": "a"},
        "cacheConfig": {"key": "k", "ttlInSecond": 4},
        "maskedFields": ["secret"],
        "tasks": [
            {
                **SIMPLE,
                "description": "d",
                "inputParameters": {"a": "${workflow.input.size}", "n": 3, "nothing": None},
                "type": "SIMPLE",
                "startDelay": 1,
                "optional": True,
                "rateLimited": True,
                "asyncComplete": True,
                "retryCount": 2,
                "permissive": True,
                "cacheConfig": {"key": "k", "ttlInSecond": 3},
                "metadata": {"a": "b"},
                "joinStatus": "done",
                "joinMode": "SYNC",
                "items": "${workflow.input.list}",
                "scriptExpression": "1",
                "defaultExclusiveJoinTask": ["x"],
            }
        ],
    },
    "embedded_task_definitions": {
        "tasks": [
            {**SIMPLE, "taskDefinition": {"name": "equal_task"}},
            {**SIMPLE, "taskReferenceName": "second", "taskDefinition": TASKS["every_field"] | {"name": "e"}},
        ]
    },
    "nested": {
        "tasks": [
            {
                "name": "switch",
                "taskReferenceName": "switch",
                "type": "SWITCH",
                "evaluatorType": "value-param",
                "expression": "which",
                "inputParameters": {"which": "a"},
                "decisionCases": {
                    "a": [{**SIMPLE, "taskReferenceName": "case_a"}],
                    "b c": [
                        {
                            "name": "inner",
                            "taskReferenceName": "inner",
                            "type": "SWITCH",
                            "evaluatorType": "javascript",
                            "expression": "$.x",
                            "decisionCases": {"1": [{**SIMPLE, "taskReferenceName": "deep", "retryCount": 0}]},
                        }
                    ],
                    "empty": [],
                },
                "defaultCase": [{**SIMPLE, "taskReferenceName": "otherwise"}],
            },
            {
                "name": "decide",
                "taskReferenceName": "decide",
                "type": "DECISION",
                "caseValueParam": "v",
                "decisionCases": {"x": [{**SIMPLE, "taskReferenceName": "old"}]},
            },
            {
                "name": "fork",
                "taskReferenceName": "fork",
                "type": "FORK_JOIN",
                "forkTasks": [
                    [{**SIMPLE, "taskReferenceName": "left"}],
                    [{**SIMPLE, "taskReferenceName": "right"}, {**SIMPLE, "taskReferenceName": "right2"}],
                ],
            },
            {"name": "join", "taskReferenceName": "join", "type": "JOIN", "joinOn": ["left", "right2"]},
            {
                "name": "loop",
                "taskReferenceName": "loop",
                "type": "DO_WHILE",
                "loopCondition": "$.loop['iteration'] < 3",
                "loopOver": [{**SIMPLE, "taskReferenceName": "again"}],
            },
            {
                "name": "sub",
                "taskReferenceName": "sub",
                "type": "SUB_WORKFLOW",
                "subWorkflowParam": {"name": "other", "version": 2, "taskToDomain": {"*": "mine"}},
            },
            {
                "name": "sub",
                "taskReferenceName": "sub_latest",
                "type": "SUB_WORKFLOW",
                "subWorkflowParam": {"name": "other"},
            },
            {
                "name": "wait",
                "taskReferenceName": "wait",
                "type": "WAIT",
                "inputParameters": {"duration": "1 s"},
            },
            {"name": "set", "taskReferenceName": "set", "type": "SET_VARIABLE", "inputParameters": {"v": 1}},
            {
                "name": "dynamic",
                "taskReferenceName": "dynamic",
                "type": "DYNAMIC",
                "dynamicTaskNameParam": "which",
                "inputParameters": {"which": "equal_task"},
            },
            {
                "name": "many",
                "taskReferenceName": "many",
                "type": "FORK_JOIN_DYNAMIC",
                "dynamicForkTasksParam": "tasks",
                "dynamicForkTasksInputParamName": "inputs",
            },
            {"name": "many_join", "taskReferenceName": "many_join", "type": "JOIN"},
            {"name": "tell", "taskReferenceName": "tell", "type": "EVENT", "sink": "conductor"},
            {
                "name": "end",
                "taskReferenceName": "end",
                "type": "TERMINATE",
                "inputParameters": {"terminationStatus": "COMPLETED"},
            },
        ]
    },
}


@pytest.fixture(scope="module")
def metadata(real_server) -> Iterator[metadata_service_pb2_grpc.MetadataServiceStub]:
    with grpc.insecure_channel(real_server.target) as channel:
        yield metadata_service_pb2_grpc.MetadataServiceStub(channel)


def rest(server, method: str, path: str, body: object = None) -> object:
    request = urllib.request.Request(
        f"{server.base_url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def differences(by_rest: object, by_grpc: object, path: str = "$", in_map: bool = False) -> Iterator[str]:
    """What differs though no table above allows it."""
    if isinstance(by_rest, dict) and isinstance(by_grpc, dict):
        for key in by_rest.keys() | by_grpc.keys():
            here = f"{path}.{key}"
            if key in NOT_COMPARED and not in_map:
                continue
            if key in by_rest and key in by_grpc:
                yield from differences(by_rest[key], by_grpc[key], here, in_map or key in MAPS_OF_VALUES)
            elif in_map or key not in EMPTY_FOR_NULL:
                yield f"{here}: REST {by_rest.get(key, 'absent')!r}, gRPC {by_grpc.get(key, 'absent')!r}"
            elif by_grpc.get(key) != EMPTY_FOR_NULL[key]:
                yield f"{here}: REST null, gRPC {by_grpc.get(key)!r} instead of {EMPTY_FOR_NULL[key]!r}"
    elif isinstance(by_rest, list) and isinstance(by_grpc, list) and len(by_rest) == len(by_grpc):
        for index, pair in enumerate(zip(by_rest, by_grpc, strict=True)):
            yield from differences(*pair, f"{path}[{index}]", in_map)
    elif by_rest != by_grpc or (not in_map and type(by_rest) is not type(by_grpc)):
        yield f"{path}: REST {by_rest!r}, gRPC {by_grpc!r}"


def absent_keys(by_rest: object, by_grpc: object) -> Iterator[str]:
    """The keys that only the gRPC copy has."""
    if isinstance(by_rest, dict) and isinstance(by_grpc, dict):
        yield from by_grpc.keys() - by_rest.keys()
        for key in by_rest.keys() & by_grpc.keys():
            yield from absent_keys(by_rest[key], by_grpc[key])
    elif isinstance(by_rest, list) and isinstance(by_grpc, list):
        for pair in zip(by_rest, by_grpc, strict=True):
            yield from absent_keys(*pair)


def task_both_ways(server, metadata, name: str) -> tuple[object, object]:
    definition = TASKS[name]
    rest(server, "POST", "/metadata/taskdefs", [{**copy.deepcopy(definition), "name": f"equal_{name}_rest"}])
    message = task_definition_to_proto({**definition, "name": f"equal_{name}_grpc"})
    metadata.CreateTasks(metadata_service_pb2.CreateTasksRequest(defs=[message]), timeout=30)
    return tuple(rest(server, "GET", f"/metadata/taskdefs/equal_{name}_{way}") for way in ("rest", "grpc"))


def workflow_both_ways(server, metadata, name: str) -> tuple[object, object]:
    definition = WORKFLOWS[name]
    rest(server, "PUT", "/metadata/workflow", [{**copy.deepcopy(definition), "name": f"equal_{name}_rest"}])
    message = workflow_definition_to_proto({**definition, "name": f"equal_{name}_grpc"})
    metadata.UpdateWorkflows(metadata_service_pb2.UpdateWorkflowsRequest(defs=[message]), timeout=30)
    return tuple(rest(server, "GET", f"/metadata/workflow/equal_{name}_{way}") for way in ("rest", "grpc"))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_definition_is_stored_as_by_rest(real_server, metadata, name) -> None:
    by_rest, by_grpc = task_both_ways(real_server, metadata, name)
    assert list(differences(by_rest, by_grpc)) == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_definition_is_stored_as_by_rest(real_server, metadata, name) -> None:
    by_rest, by_grpc = workflow_both_ways(real_server, metadata, name)
    assert list(differences(by_rest, by_grpc)) == []


def test_every_excused_difference_is_real(real_server, metadata) -> None:
    pairs = [task_both_ways(real_server, metadata, name) for name in TASKS]
    pairs += [workflow_both_ways(real_server, metadata, name) for name in WORKFLOWS]
    assert {key for pair in pairs for key in absent_keys(*pair)} == EMPTY_FOR_NULL.keys()


def test_whole_numbers_in_maps_are_stored_as_floating_point(real_server, metadata) -> None:
    by_rest, by_grpc = task_both_ways(real_server, metadata, "every_field")
    assert type(by_rest["inputTemplate"]["number"]) is int
    assert type(by_grpc["inputTemplate"]["number"]) is float


UNREADABLE = {"every_field", "nested", "embedded_task_definitions"}
"""What holds integers, or a SUB_WORKFLOW without taskToDomain."""


def registration(server, base_url: str, name: str, definition: dict[str, object]) -> Registration:
    configuration = Configuration(base_url, target=server.target)
    with Registrar(configuration) as registrar:
        if "tasks" in definition:
            return registrar.register_workflow(workflow_definition_to_proto({**definition, "name": name}))
        return registrar.register_task(task_definition_to_proto({**definition, "name": name}))


@pytest.mark.parametrize("by_rest", [True, False])
@pytest.mark.parametrize("name", [*TASKS, *(f"workflow {name}" for name in WORKFLOWS)])
def test_what_rest_stored_is_not_taken_for_different(real_server, metadata, name, by_rest) -> None:
    """The same JSON registered once more, over gRPC."""
    both_ways = workflow_both_ways if name.startswith("workflow ") else task_both_ways
    kind = name.removeprefix("workflow ")
    both_ways(real_server, metadata, kind)
    definition = WORKFLOWS[kind] if name.startswith("workflow ") else TASKS[kind]
    done = registration(real_server, real_server.base_url if by_rest else "", f"equal_{kind}_rest", definition)
    if by_rest or kind not in UNREADABLE:
        assert done == Registration(Outcome.UNCHANGED)
    else:
        assert (done.outcome, "cannot be read over gRPC" in done.unreadable) == (Outcome.DIFFERS, True)


def test_an_export_of_rest_is_accepted(real_server, metadata) -> None:
    task_by_rest, _ = task_both_ways(real_server, metadata, "every_field")
    workflow_by_rest, _ = workflow_both_ways(real_server, metadata, "nested")
    assert task_definition_to_proto(task_by_rest).backoff_jitter_ms == 5
    assert len(workflow_definition_to_proto(workflow_by_rest).tasks) == 14
