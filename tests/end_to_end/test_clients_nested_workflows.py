"""Definitions registered over gRPC run as the same JSON does by REST; and the traps that checks guard are real."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.clients import MetadataClient, TaskClient, Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.configuration import Configuration
from conductor_grpc.definitions import task_definition_to_proto, workflow_definition_to_proto
from conductor_grpc.errors import ServerError
from conductor_grpc.pb.services import metadata_service_pb2, metadata_service_pb2_grpc
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.worker import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef

pytestmark = pytest.mark.real_server


def inline(reference: str, expression: str = "1", **inputs: object) -> dict[str, object]:
    inputs |= {"evaluatorType": "javascript", "expression": expression}
    return {"name": reference, "taskReferenceName": reference, "type": "INLINE", "inputParameters": inputs}


@pytest.fixture
def name() -> str:
    return f"nested_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def configuration(real_server) -> Configuration:
    return Configuration(real_server.base_url, target=real_server.target)


@pytest.fixture
def run(configuration: Configuration, name: str) -> Iterator[Callable[..., Workflow]]:
    with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as workflow:

        def register_and_run(*tasks: dict[str, object], **more: object) -> Workflow:
            metadata.register_workflow({"name": name, "tasks": list(tasks), **more})
            return workflow.start_and_wait(name, {"which": "a"}, timeout=30)

        yield register_and_run


def test_switch_takes_the_case(run) -> None:
    ended = run(
        {
            "name": "s",
            "taskReferenceName": "s",
            "type": "SWITCH",
            "evaluatorType": "value-param",
            "expression": "v",
            "inputParameters": {"v": "${workflow.input.which}"},
            "decisionCases": {"a": [inline("taken")], "b": [inline("other")]},
            "defaultCase": [inline("otherwise")],
        }
    )
    assert ended.status is WorkflowStatus.COMPLETED
    assert [task.reference_task_name for task in ended.tasks] == ["s", "taken"]


def test_fork_join_variables_and_terminate(run) -> None:
    ended = run(
        {"name": "f", "taskReferenceName": "f", "type": "FORK_JOIN", "forkTasks": [[inline("a")], [inline("b")]]},
        {"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["a", "b"]},
        {
            "name": "v",
            "taskReferenceName": "v",
            "type": "SET_VARIABLE",
            "inputParameters": {"kept": "${workflow.input.which}"},
        },
        {
            "name": "t",
            "taskReferenceName": "t",
            "type": "TERMINATE",
            "inputParameters": {
                "terminationStatus": "COMPLETED",
                "workflowOutput": {"kept": "${workflow.variables.kept}"},
            },
        },
        inline("never"),
    )
    assert (ended.status, ended.output) == (WorkflowStatus.COMPLETED, {"kept": "a"})
    assert ended.task("j").status is TaskStatus.COMPLETED


def test_do_while_counts(run) -> None:
    ended = run(
        {
            "name": "l",
            "taskReferenceName": "l",
            "type": "DO_WHILE",
            "loopCondition": "$.l['iteration'] < 3",
            "loopOver": [inline("again")],
        }
    )
    assert ended.status is WorkflowStatus.COMPLETED
    assert [task.iteration for task in ended.tasks if task.reference_task_name.startswith("again")] == [1, 2, 3]


def test_wait_ends(run) -> None:
    ended = run({"name": "w", "taskReferenceName": "w", "type": "WAIT", "inputParameters": {"duration": "1 seconds"}})
    assert ended.status is WorkflowStatus.COMPLETED


def test_a_sub_workflow_of_the_latest_version(run, configuration: Configuration, name: str) -> None:
    with MetadataClient(configuration) as metadata:
        metadata.register_workflow({"name": f"{name}_child", "version": 3, "tasks": [inline("x", "41 + 1")]})
    ended = run(
        {
            "name": "s",
            "taskReferenceName": "s",
            "type": "SUB_WORKFLOW",
            "subWorkflowParam": {"name": f"{name}_child"},
        }
    )
    assert ended.status is WorkflowStatus.COMPLETED
    assert ended.output["result"] == 42


FAILING = {
    "name": "t",
    "taskReferenceName": "t",
    "type": "TERMINATE",
    "inputParameters": {"terminationStatus": "FAILED"},
}


def test_a_failure_workflow_needs_its_version(run, configuration: Configuration, name: str) -> None:
    with MetadataClient(configuration) as metadata:
        metadata.register_workflow({"name": f"{name}_cure", "tasks": [inline("x")]})
    ended = run(FAILING, failureWorkflow=f"{name}_cure", failureWorkflowVersion=1)
    with WorkflowClient(configuration) as workflow:
        cure = workflow.wait(str(ended.output["conductor.failure_workflow"]), timeout=30)
    assert (cure.name, cure.status) == (f"{name}_cure", WorkflowStatus.COMPLETED)


def store_unchecked(configuration: Configuration, definition: WorkflowDef) -> None:
    with open_channel(configuration) as channel:
        stub = metadata_service_pb2_grpc.MetadataServiceStub(channel)
        stub.UpdateWorkflows(metadata_service_pb2.UpdateWorkflowsRequest(defs=[definition]))


def test_without_its_version_the_failure_workflow_does_not_start(configuration: Configuration, name: str) -> None:
    """Why the check exists. When this fails, the server has learnt it and the check can go."""
    definition = workflow_definition_to_proto({"name": name, "tasks": [FAILING]})
    definition.failure_workflow = name
    store_unchecked(configuration, definition)
    with WorkflowClient(configuration) as workflow:
        ended = workflow.start_and_wait(name, {"x": 1}, timeout=30)
    assert "failed to start" in str(ended.output["conductor.failure_workflow"])


def test_keep_last_n_as_a_number_fails(configuration: Configuration, name: str) -> None:
    """Why the check exists. When this fails, the server has learnt it and the check can go."""
    loop = {
        "name": "l",
        "taskReferenceName": "l",
        "type": "DO_WHILE",
        "loopCondition": "$.l['iteration'] < 3",
        "loopOver": [inline("again")],
    }
    definition = workflow_definition_to_proto({"name": name, "tasks": [loop]})
    definition.tasks[0].input_parameters["keepLastN"].number_value = 2
    store_unchecked(configuration, definition)
    with WorkflowClient(configuration) as workflow, pytest.raises(ServerError, match="Double cannot be cast"):
        workflow.start(name, {"x": 1})


def test_an_http_task_with_a_definition_from_grpc_waits_for_ever(configuration: Configuration, name: str) -> None:
    """Why the check exists. When this fails, the server has learnt it and the check can go."""
    http = {
        "name": "h",
        "taskReferenceName": "h",
        "type": "HTTP",
        "inputParameters": {"http_request": {"method": "GET", "uri": f"{configuration.base_url}/version"}},
    }
    definition = workflow_definition_to_proto({"name": name, "tasks": [http]})
    definition.tasks[0].task_definition.CopyFrom(task_definition_to_proto({"name": "h"}))
    store_unchecked(configuration, definition)
    with WorkflowClient(configuration) as workflow, TaskClient(configuration) as task:
        before = task.queue_sizes(["HTTP@-"])["HTTP@-"]
        workflow_id = workflow.start(name, {"x": 1})
        # The server's own workers poll the queue HTTP; this one is in the queue of an isolation group named "".
        assert task.queue_sizes(["HTTP@-"]) == {"HTTP@-": before + 1}
        workflow.terminate(workflow_id)


def test_a_join_with_a_definition_times_out_at_once(configuration: Configuration, name: str) -> None:
    """Why the check exists. When this fails, the server has learnt it and the check can go."""
    fork = {"name": "f", "taskReferenceName": "f", "type": "FORK_JOIN", "forkTasks": [[inline("a")]]}
    join = {"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["a"]}
    definition = workflow_definition_to_proto({"name": name, "tasks": [fork, join]})
    definition.tasks[1].task_definition.CopyFrom(task_definition_to_proto({"name": "j"}))
    store_unchecked(configuration, definition)
    with WorkflowClient(configuration) as workflow:
        ended = workflow.start_and_wait(name, {"x": 1}, timeout=30)
    assert ended.status is WorkflowStatus.TIMED_OUT
    assert "responseTimeout: 3600 exceeded" in ended.reason_for_incompletion
