"""What the server makes of a field that a definition leaves unset.

proto3 has no "absent": what REST leaves to the defaults of Java classes arrives over gRPC as 0, false or "" and is
stored as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from definition_calls import create_tasks, create_workflow, stored_task, stored_workflow
from rest_calls import rest
from wire import branch, error_of, plain, simple, task_of
from workflow_calls import restart, running

from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflow_pb2 import Workflow
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

# -- what is stored --


def test_of_a_task_definition_the_defaults_of_proto_are_stored(server) -> None:
    """No retries, RETRY as the timeout policy, no rate limit window: none of it what REST would store."""
    name = server.unique()
    create_tasks(server, TaskDef(name=name, response_timeout_seconds=60, backoff_scale_factor=1))
    stored = stored_task(server, name)
    assert stored == TaskDef(name=name, response_timeout_seconds=60, backoff_scale_factor=1)
    if server.base_url:
        by_rest = rest(server, "GET", f"/metadata/taskdefs/{name}")
        assert {key: by_rest[key] for key in ("retryCount", "retryDelaySeconds", "timeoutPolicy")} == {
            "retryCount": 0,
            "retryDelaySeconds": 0,
            "timeoutPolicy": "RETRY",
        }
        assert by_rest["isolationGroupId"] == by_rest["executionNameSpace"] == ""


def test_of_a_workflow_definition_the_defaults_of_proto_are_stored(server) -> None:
    """Version 0, TIME_OUT_WF, not restartable, no schemas enforced, retries off, JOINs looked at for ever."""
    name = server.unique("wf")
    task = WorkflowTask(name="t", task_reference_name="t", type="SIMPLE")
    create_workflow(server, WorkflowDef(name=name, schema_version=2, tasks=[task]))
    stored = stored_workflow(server, name)
    assert stored == WorkflowDef(name=name, schema_version=2, tasks=[task])
    if server.base_url:
        by_rest = rest(server, "GET", f"/metadata/workflow/{name}")
        assert (by_rest["version"], by_rest["timeoutPolicy"], by_rest["restartable"]) == (0, "TIME_OUT_WF", False)
        assert (by_rest["enforceSchema"], by_rest["failureWorkflowVersion"]) == (False, 0)
        assert by_rest["tasks"][0]["joinMode"] == "SYNC"
        assert by_rest["tasks"][0]["retryCount"] == 0


def test_a_retry_count_of_minus_one_is_stored_as_none(server) -> None:
    name = server.workflow(simple("t", retry_count=-1))
    assert stored_workflow(server, name).tasks[0].retry_count == -1
    if server.base_url:
        assert "retryCount" not in rest(server, "GET", f"/metadata/workflow/{name}")["tasks"][0]


# -- what it leads to --


def test_an_unset_retry_count_of_a_workflow_task_turns_retries_off(server) -> None:
    task_type = server.task_definition(retry_count=3)
    workflow_id = server.start(server.workflow(simple(task_type, retry_count=0)))
    server.fail(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (workflow.status, len(workflow.tasks)) == (Workflow.FAILED, 1)


def test_a_retry_count_of_minus_one_leaves_retries_to_the_task_definition(server) -> None:
    task_type = server.task_definition(retry_count=3)
    workflow_id = server.start(server.workflow(simple(task_type, retry_count=-1)))
    server.fail(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (workflow.status, len(workflow.tasks)) == (Workflow.RUNNING, 2)


def test_an_unset_restartable_makes_a_completed_workflow_final(server) -> None:
    name = server.workflow(task_of("SET_VARIABLE", "set"), restartable=False)
    workflow_id = server.start(name)
    assert error_of(lambda: restart(server, workflow_id)) == (
        grpc.StatusCode.INTERNAL,
        f"Workflow: {name}.1/{workflow_id}.COMPLETED is non-restartable",
        "NotFoundException",
    )


def test_an_unset_version_is_started_as_the_latest(server) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type), version=0))
    assert server.get(workflow_id).workflow_definition.version == 0
    assert server.take(task_type).workflow_instance_id == workflow_id


def test_an_unset_version_of_a_sub_workflow_is_the_latest(server) -> None:
    old, new = server.task_definition(), server.task_definition()
    child = server.workflow(simple(old))
    create_workflow(server, server.workflow_definition(simple(new), name=child, version=2))
    sub = task_of("SUB_WORKFLOW", "sub", sub_workflow_param=SubWorkflowParams(name=child))
    server.start(server.workflow(sub))
    assert server.until(lambda: server.poll(new, wait=100))
    assert server.poll(old, wait=-1) == []


def failed_with_failure_workflow(server: ServerUnderTest, failure_workflow: str, version: int) -> Workflow:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type), failure_workflow=failure_workflow, failure_workflow_version=version)
    workflow_id = server.start(name)
    server.fail(server.take(task_type))
    return server.get(workflow_id)


def test_an_unset_version_of_a_failure_workflow_is_not_the_latest(server) -> None:
    """The one version that is not: the server looks for version 0 and does not start it."""
    failure_workflow = server.workflow(simple(server.task_definition()))
    failed = failed_with_failure_workflow(server, failure_workflow, 0)
    assert failed.status == Workflow.FAILED
    assert plain(failed.output) == {
        "conductor.failure_workflow": f"Error workflow {failure_workflow} failed to start.  reason:"
        f" No such workflow defined. name={failure_workflow}, version=0"
    }
    assert running(server, failure_workflow) == []


def test_a_failure_workflow_with_its_version_starts(server) -> None:
    failure_workflow = server.workflow(simple(server.task_definition()))
    failed = failed_with_failure_workflow(server, failure_workflow, 1)
    assert running(server, failure_workflow) == [plain(failed.output)["conductor.failure_workflow"]]


def templated(server: ServerUnderTest) -> str:
    return server.workflow(simple(server.task_definition()), input_template={"x": "of the template"})


def test_an_input_template_fills_what_a_start_leaves_out(server) -> None:
    workflow = server.get(server.start(templated(server), {"y": 1}))
    assert plain(workflow.input) == {"x": "of the template", "y": 1}


def test_an_input_template_is_not_applied_to_a_start_without_any_input(server) -> None:
    assert plain(server.get(server.start(templated(server))).input) == {}


@pytest.mark.differs("embedded", "a workflow task without a type is a SIMPLE one, in the queue of its name")
def test_an_unset_type_lands_in_a_queue_without_a_name(server) -> None:
    name = server.unique()
    workflow_id = server.start(server.workflow(WorkflowTask(name=name, task_reference_name="t", retry_count=-1)))
    (task,) = server.get(workflow_id).tasks
    assert task.task_def_name == name
    assert task.task_type == (name if server.name == "embedded" else "")
    assert len(server.poll(name, wait=-1)) == (server.name == "embedded")
    server.terminate(workflow_id)


@pytest.mark.parametrize("kind", ["JOIN", "WAIT"])
def test_a_defined_join_or_wait_is_timed_out_at_the_next_look(server, kind: str) -> None:
    """Its response timeout counts from 1970, whatever it is."""
    defined = server.task_definition(response_timeout_seconds=600)
    fork = task_of("FORK_JOIN", "fork", fork_tasks=[branch(simple("t", "worked"))])
    tasks = {
        "JOIN": [fork, task_of("JOIN", "waits", name=defined, join_on=["worked"])],
        "WAIT": [task_of("WAIT", "waits", name=defined, input_parameters={"duration": "1 hour"})],
    }
    workflow_id = server.start(server.workflow(*tasks[kind]))
    server.until(lambda: server.get(workflow_id).tasks[-1].start_time)
    server.decide(workflow_id)
    ended = server.ended(workflow_id)
    assert ended.status == Workflow.TIMED_OUT
    assert "responseTimeout: 600 exceeded" in ended.reason_for_incompletion


@pytest.mark.differs("embedded", "refuses a schema version other than 2, whose expressions it does not know")
def test_an_unset_schema_version_of_an_inline_definition_selects_an_older_engine(server) -> None:
    """One that takes no constants: of a registered definition 2 is required, see the refusals."""
    definition = server.workflow_definition(simple("t", input_parameters={"constant": 3}), schema_version=0)
    request = StartWorkflowRequest(name=definition.name, workflow_def=definition)
    failure = error_of(lambda: server.workflows.StartWorkflow(request))
    if server.name == "embedded":
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED
        assert "schema_version 0" in failure.details
    else:
        assert failure == (
            grpc.StatusCode.INTERNAL,
            "Invalid input expression for constant, paramPathComponents.size=2, expression=3.0",
            "IllegalArgumentException",
        )
