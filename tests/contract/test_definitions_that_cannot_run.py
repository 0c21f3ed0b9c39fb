"""Definitions that the server registers though no execution of them gets far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from wire import branch, error_of, plain, simple, task_of
from workflow_calls import running

from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.task_pb2 import Task
from conductor_grpc.pb.model.workflow_pb2 import Workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

NO_JOIN = "Fork task definition is not followed by a join task.  Check the blueprint"


def fork(*types: str) -> WorkflowTask:
    return task_of("FORK_JOIN", "fork", fork_tasks=[branch(simple(each)) for each in types])


@pytest.mark.parametrize("after", [[], [simple("c")]], ids=["at the end", "before a worker task"])
def test_a_fork_without_a_join_fails_the_workflow_at_its_start(server, after: list[WorkflowTask]) -> None:
    workflow = server.get(server.start(server.workflow(fork("a", "b"), *after)))
    assert (workflow.status, workflow.reason_for_incompletion) == (Workflow.FAILED, NO_JOIN)
    assert list(workflow.tasks) == []


def test_a_fork_with_an_empty_branch_cannot_be_started(server) -> None:
    name = server.workflow(task_of("FORK_JOIN", "fork", fork_tasks=[branch()]), task_of("JOIN", "join"))
    assert error_of(lambda: server.start(name)) == (
        grpc.StatusCode.INTERNAL,
        "Index 0 out of bounds for length 0",
        "IndexOutOfBoundsException",
    )


def test_a_join_on_no_task_waits_for_ever(server) -> None:
    left = server.task_definition()
    workflow_id = server.start(server.workflow(fork(left), task_of("JOIN", "join", join_on=[left, "nobody"])))
    server.complete(server.take(left))
    server.pass_time(0.5)
    server.decide(workflow_id)
    workflow = server.get(workflow_id)
    assert workflow.status == Workflow.RUNNING
    assert workflow.tasks[-1].status == Task.IN_PROGRESS
    server.terminate(workflow_id)


def test_a_join_without_join_on_joins_nothing(server) -> None:
    left = server.task_definition()
    workflow_id = server.start(server.workflow(fork(left), task_of("JOIN", "join")))
    join = server.until(lambda: next(t for t in server.get(workflow_id).tasks if t.task_type == "JOIN").status)
    assert join == Task.COMPLETED
    assert server.get(workflow_id).status == Workflow.RUNNING
    server.complete(server.take(left))
    assert server.ended(workflow_id).status == Workflow.COMPLETED


@pytest.mark.parametrize("evaluator", ["", "cobol"])
def test_a_switch_with_an_unknown_evaluator_fails_the_workflow_at_its_start(server, evaluator: str) -> None:
    task = switch(evaluator_type=evaluator, expression="which", decision_cases={"x": branch(simple("t"))})
    workflow = server.get(server.start(server.workflow(task)))
    assert workflow.status == Workflow.FAILED
    assert workflow.reason_for_incompletion == f"No evaluator registered for type: {evaluator}"
    assert list(workflow.tasks) == []


def test_a_task_of_a_type_of_the_users_own_is_queued_under_that_type(server) -> None:
    kind, name = server.unique("FROBNICATE"), server.unique()
    workflow_id = server.start(server.workflow(task_of(kind, "t", name=name)))
    assert server.poll(name, wait=-1) == []
    task = server.take(kind)
    assert (task.workflow_instance_id, task.task_type, task.task_def_name) == (workflow_id, kind, name)


def switch(**fields: Any) -> WorkflowTask:
    return task_of("SWITCH", "switch", input_parameters={"which": "x"}, **fields)


def test_a_switch_without_an_expression_takes_the_default_case(server) -> None:
    case, default = server.task_definition(), server.task_definition()
    task = switch(
        evaluator_type="value-param", decision_cases={"x": branch(simple(case))}, default_case=[simple(default)]
    )
    server.start(server.workflow(task))
    assert server.take(default)
    assert server.poll(case, wait=-1) == []


def test_a_switch_into_an_empty_case_goes_on_behind_it(server) -> None:
    task = switch(evaluator_type="value-param", expression="which", decision_cases={"x": branch()})
    workflow = server.get(server.start(server.workflow(task)))
    assert workflow.status == Workflow.COMPLETED


def seen_by_the_next_task(server: ServerUnderTest, params: SubWorkflowParams) -> dict[str, Any]:
    """Status and reason of an optional SUB_WORKFLOW: its workflow holds an integer and cannot be read over gRPC."""
    task_type = server.task_definition()
    inputs = {"status": "${sub.status}", "reason": "${sub.reasonForIncompletion}"}
    sub = task_of("SUB_WORKFLOW", "sub", optional=True, sub_workflow_param=params)
    server.start(server.workflow(sub, simple(task_type, input_parameters=inputs)))
    (task,) = server.until(lambda: server.poll(task_type, wait=100))
    return plain(task.input_data)


def test_a_sub_workflow_of_no_workflow_fails(server) -> None:
    missing = server.unique("wf")
    assert seen_by_the_next_task(server, SubWorkflowParams(name=missing)) == {
        "status": "COMPLETED_WITH_ERRORS",
        "reason": f"No such workflow defined. name={missing}, version=null",
    }


def test_a_sub_workflow_of_no_version_fails(server) -> None:
    name = server.workflow(simple("t"))
    seen = seen_by_the_next_task(server, SubWorkflowParams(name=name, version=9))
    assert seen["reason"] == f"No such workflow defined. name={name}, version=9"


def test_a_sub_workflow_without_a_name_fails(server) -> None:
    seen = seen_by_the_next_task(server, SubWorkflowParams())
    assert seen["reason"] == "Workflow name must be specified when searching for a definition"


def test_a_wait_for_what_is_no_duration_cannot_be_started(server) -> None:
    name = server.workflow(task_of("WAIT", "wait", input_parameters={"duration": "${workflow.input.x}"}))
    assert error_of(lambda: server.start(name, {"x": "soon"})) == (
        grpc.StatusCode.INTERNAL,
        "Not valid duration: soon",
        "IllegalArgumentException",
    )


def test_references_to_what_is_not_there_are_null(server) -> None:
    task_type = server.task_definition()
    inputs = {
        "self": "${t.output.y}",
        "later": "${u.output.y}",
        "no part": "${workflow.nothing.y}",
        "text": "n ${t.output.y}",
    }
    tasks = [simple(task_type, "t", input_parameters=inputs), simple("b", "u")]
    server.start(server.workflow(*tasks, output_parameters={"x": "${nobody.output.y}"}))
    assert plain(server.take(task_type).input_data) == {
        "self": None,
        "later": None,
        "no part": None,
        "text": "n null",
    }


# -- definitions sent along with a start are not validated --


def start_inline(server: ServerUnderTest, *tasks: WorkflowTask, **fields: Any) -> Workflow:
    definition = server.workflow_definition(*tasks, **fields)
    request = StartWorkflowRequest(name=definition.name, workflow_def=definition)
    return server.get(server.workflows.StartWorkflow(request).workflow_id)


def test_an_inline_definition_without_tasks_is_completed(server) -> None:
    workflow = start_inline(server)
    assert (workflow.status, workflow.reason_for_incompletion) == (
        Workflow.COMPLETED,
        "No tasks found to be executed",
    )


def test_an_inline_definition_may_use_a_reference_name_twice(server) -> None:
    """The second of the two is never run."""
    first, second = server.task_definition(), server.task_definition()
    workflow = start_inline(server, simple(first, "t"), simple(second, "t"))
    server.complete(server.take(first))
    assert server.ended(workflow.workflow_id).status == Workflow.COMPLETED
    assert server.poll(second, wait=-1) == []


def test_an_inline_definition_may_refer_to_no_task(server) -> None:
    task_type = server.task_definition()
    start_inline(server, simple(task_type, input_parameters={"x": "${nobody.output.y}"}))
    assert plain(server.take(task_type).input_data) == {"x": None}


# -- sub-workflows in a circle --


def test_a_workflow_that_starts_itself_goes_deeper_until_the_first_is_terminated(server) -> None:
    name = server.unique("wf")
    sub = task_of("SUB_WORKFLOW", "sub", sub_workflow_param=SubWorkflowParams(name=name, version=1))
    server.workflow(sub, name=name)
    first = server.start(name)
    try:
        server.until(lambda: len(running(server, name)) > 3)
    finally:
        server.until(lambda: terminate_all(server, name, first))
    assert running(server, name) == []


def test_two_workflows_that_start_each_other_go_deeper_until_the_first_is_terminated(server) -> None:
    one, other = server.unique("wf"), server.unique("wf")
    for name, child in ((one, other), (other, one)):
        server.workflow(task_of("SUB_WORKFLOW", "sub", sub_workflow_param=SubWorkflowParams(name=child)), name=name)
    first = server.start(one)
    try:
        server.until(lambda: len(running(server, one)) > 1 and len(running(server, other)) > 1)
    finally:
        server.until(lambda: terminate_all(server, one, first) and terminate_all(server, other, first))


def terminate_all(server: ServerUnderTest, name: str, first: str) -> bool:
    """Terminates the outermost, which ends those within it; whether none is left, as one may just be starting."""
    server.terminate(first)
    for workflow_id in running(server, name):
        server.terminate(workflow_id)
    return not running(server, name)
