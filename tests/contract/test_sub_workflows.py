"""SUB_WORKFLOW: a child, what it is given and what it gives back, and how the ends of the two depend on each other.

Its task holds the child's version as an integer, which the server cannot send over gRPC: the cases read parents
without their tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from control_tasks import set_variable, sub_workflow
from definition_calls import create_workflow
from wire import error_of, plain, simple, status
from workflow_calls import failure, pause, restart, resume, retry

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task
    from conductor_grpc.pb.model.workflow_pb2 import Workflow


class Family:
    """A running parent of one SUB_WORKFLOW `sub` and the task `after`; the child has one task."""

    def __init__(self, server: ServerUnderTest, start: dict[str, Any] | None = None, **sub: Any) -> None:
        self._server = server
        self.child_type, self.after_type = server.task_definition(), server.task_definition()
        node = simple(self.child_type, "only", input_parameters={"k": "${workflow.input.k}"})
        self.child_name = server.workflow(node, output_parameters={"x": "${only.output.x}", "fixed": "text"})
        sub = {"input_parameters": {"k": "${workflow.input.k}"}, **sub}
        after = simple(self.after_type, "after", input_parameters={"out": "${sub.output}"})
        parent_name = server.workflow(sub_workflow("sub", self.child_name, **sub), after)
        self.parent_id = server.start(parent_name, {"k": "v"}, **(start or {}))

    @property
    def parent(self) -> Workflow:
        return self._server.get(self.parent_id, tasks=False)

    def child_task(self) -> Task:
        """The task of the running child, polled."""
        return self._server.take(self.child_type)

    def parent_becomes(self, wanted: str) -> Workflow:
        self._server.until(lambda: status(self.parent) == wanted)
        return self.parent


# -- what goes down and what comes up --


def test_a_child_knows_its_parent(server: ServerUnderTest) -> None:
    family = Family(server, {"correlation_id": "order 7", "priority": 5})
    task = family.child_task()
    child = server.get(task.workflow_instance_id)
    assert (child.workflow_definition.name, child.parent_workflow_id) == (family.child_name, family.parent_id)
    assert child.parent_workflow_task_id
    assert (child.correlation_id, child.priority) == ("order 7", 0)
    assert (task.parent_task_id, task.workflow_priority) == ("", 0)


def test_a_child_is_given_the_evaluated_input(server: ServerUnderTest) -> None:
    task = Family(server).child_task()
    assert plain(task.input_data) == {"k": "v"}
    assert plain(server.get(task.workflow_instance_id).input) == {"k": "v"}


def test_the_output_of_a_child_and_its_id_are_the_output_of_the_task(server: ServerUnderTest) -> None:
    family = Family(server)
    task = family.child_task()
    server.complete(task, x="1")
    after = server.take(family.after_type)
    assert plain(after.input_data) == {"out": {"subWorkflowId": task.workflow_instance_id, "x": "1", "fixed": "text"}}
    server.complete(after)
    assert status(family.parent) == "COMPLETED"


def test_a_child_that_completes_at_once(server: ServerUnderTest) -> None:
    child = server.workflow(set_variable("set", a="1"), output_parameters={"fixed": "text"})
    task_type = server.task_definition()
    after = simple(task_type, "after", input_parameters={"out": "${sub.output.fixed}"})
    server.start(server.workflow(sub_workflow("sub", child), after))
    assert plain(server.take(task_type).input_data) == {"out": "text"}


def test_a_child_without_input_is_given_the_input_of_the_task(server: ServerUnderTest) -> None:
    """Which holds an integer, and so cannot be read."""
    family = Family(server, input_parameters={})
    child_id = family.child_task().workflow_instance_id
    expected = failure("cannot map to Value type: 1", "ClassCastException")
    assert error_of(lambda: server.get(child_id, tasks=False)) == expected


def test_a_parent_can_be_read_only_without_its_tasks(server: ServerUnderTest) -> None:
    family = Family(server)
    task_id = server.get(family.child_task().workflow_instance_id).parent_workflow_task_id
    expected = failure("cannot map to Value type: 1", "ClassCastException")
    assert error_of(lambda: server.get(family.parent_id)) == expected
    assert error_of(lambda: server.task(task_id)) == expected
    assert status(family.parent) == "RUNNING"


# -- which child --


@pytest.mark.parametrize(("asked", "given"), [(0, 2), (1, 1), (2, 2)])
def test_the_version_of_the_child(server: ServerUnderTest, asked: int, given: int) -> None:
    """0 is the latest."""
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    create_workflow(server, server.workflow_definition(simple(task_type), name=name, version=2))
    server.start(server.workflow(sub_workflow("sub", name, asked)))
    child = server.get(server.take(task_type).workflow_instance_id)
    assert child.workflow_definition.version == given


def test_the_name_of_the_child_may_be_an_expression(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    server.start(server.workflow(sub_workflow("sub", "${workflow.input.name}")), {"name": name})
    server.take(task_type)


@pytest.mark.parametrize(("version", "text"), [(1, "1"), (0, "null")])
def test_an_unknown_child_fails_the_parent(server: ServerUnderTest, version: int, text: str) -> None:
    workflow_id = server.start(server.workflow(sub_workflow("sub", "nope", version)))
    server.until(lambda: status(server.get(workflow_id, tasks=False)) == "FAILED")
    workflow = server.get(workflow_id, tasks=False)
    assert workflow.reason_for_incompletion.endswith(
        f" failed with status: FAILED and reason: 'No such workflow defined. name=nope, version={text}'"
    )
    assert list(workflow.failed_reference_task_names) == ["sub"]


def test_the_domains_of_a_child(server: ServerUnderTest) -> None:
    """They are those that its SUB_WORKFLOW names, never the parent's."""
    domain = server.unique("domain")
    family = Family(server, {"task_to_domain": {"*": "of the parent"}}, task_to_domain={"*": domain})
    task = server.take(family.child_type, domain=domain)
    assert task.domain == domain
    assert dict(server.get(task.workflow_instance_id).task_to_domain) == {"*": domain}


def test_the_domains_of_a_parent_are_not_inherited(server: ServerUnderTest) -> None:
    family = Family(server, {"task_to_domain": {"*": "of the parent"}})
    task = family.child_task()
    assert (task.domain, dict(server.get(task.workflow_instance_id).task_to_domain)) == ("", {})


# -- how they end --


def test_a_failed_child_fails_its_parent(server: ServerUnderTest) -> None:
    family = Family(server)
    task = family.child_task()
    server.fail(task, "bad")
    workflow = family.parent_becomes("FAILED")
    child = server.get(task.workflow_instance_id)
    reason = f"Sub workflow {family.child_name}.1/{child.workflow_id} failure reason: {child.reason_for_incompletion}"
    sub_id = child.parent_workflow_task_id
    assert workflow.reason_for_incompletion == f"Task {sub_id} failed with status: FAILED and reason: '{reason}'"
    assert list(workflow.failed_reference_task_names) == ["sub"]


def test_a_terminated_child_terminates_its_parent(server: ServerUnderTest) -> None:
    family = Family(server)
    child_id = family.child_task().workflow_instance_id
    server.terminate(child_id, "enough")
    workflow = family.parent_becomes("TERMINATED")
    sub_id = server.get(child_id).parent_workflow_task_id
    reason = f"Sub workflow {family.child_name}.1/{child_id} failure reason: enough"
    assert workflow.reason_for_incompletion == f"Task {sub_id} failed with status: TERMINATED and reason: '{reason}'"
    assert list(workflow.failed_reference_task_names) == []


def test_a_terminated_parent_terminates_its_child(server: ServerUnderTest) -> None:
    family = Family(server)
    child_id = family.child_task().workflow_instance_id
    server.terminate(family.parent_id, "enough")
    child = server.get(child_id)
    assert status(child) == "TERMINATED"
    assert child.reason_for_incompletion == "Parent workflow has been terminated with reason: enough"
    assert status(child.tasks[0]) == "CANCELED"


def test_the_child_of_a_paused_parent_goes_on(server: ServerUnderTest) -> None:
    family = Family(server)
    task = family.child_task()
    pause(server, family.parent_id)
    server.complete(task)
    assert status(server.get(task.workflow_instance_id)) == "COMPLETED"
    assert status(family.parent) == "PAUSED"
    resume(server, family.parent_id)
    server.take(family.after_type)


def test_an_optional_child_may_fail(server: ServerUnderTest) -> None:
    family = Family(server, optional=True)
    task = family.child_task()
    server.fail(task)
    out = plain(server.take(family.after_type).input_data)["out"]
    assert out == {"subWorkflowId": task.workflow_instance_id, "x": None, "fixed": "text"}


# -- trying again --


def test_retry_of_a_parent_starts_another_child(server: ServerUnderTest) -> None:
    family = Family(server)
    first = family.child_task()
    server.fail(first)
    family.parent_becomes("FAILED")
    retry(server, family.parent_id)
    second = family.child_task()
    assert (second.workflow_instance_id != first.workflow_instance_id, second.retry_count) == (True, 0)
    assert plain(second.input_data) == {"k": "v"}
    server.complete(second)
    server.take(family.after_type)
    assert list(family.parent.failed_reference_task_names) == ["sub"]


def test_retry_of_a_parent_can_resume_the_child(server: ServerUnderTest) -> None:
    """And then nothing tells of the failure any more."""
    family = Family(server)
    first = family.child_task()
    server.fail(first)
    family.parent_becomes("FAILED")
    retry(server, family.parent_id, resume_subworkflow_tasks=True)
    second = family.child_task()
    assert (second.workflow_instance_id, second.retried_task_id) == (first.workflow_instance_id, first.task_id)
    assert (status(family.parent), list(family.parent.failed_reference_task_names)) == ("RUNNING", [])
    server.complete(second)
    server.take(family.after_type)


@pytest.mark.parametrize("call", [retry, restart])
def test_a_child_that_runs_again_makes_its_parent_run_again(server: ServerUnderTest, call: Any) -> None:
    family = Family(server)
    task = family.child_task()
    server.fail(task)
    family.parent_becomes("FAILED")
    call(server, task.workflow_instance_id)
    assert (status(family.parent), list(family.parent.failed_reference_task_names)) == ("RUNNING", [])
    assert family.parent.last_retried_time > 0
    server.complete(family.child_task(), x="1")
    assert plain(server.take(family.after_type).input_data)["out"]["x"] == "1"


@pytest.mark.parametrize("resume_child", [False, True])
def test_retry_of_a_terminated_parent(server: ServerUnderTest, resume_child: bool) -> None:
    family = Family(server)
    first = family.child_task()
    server.terminate(family.parent_id)
    retry(server, family.parent_id, resume_subworkflow_tasks=resume_child)
    second = family.child_task()
    assert (second.workflow_instance_id == first.workflow_instance_id) == resume_child
    assert status(server.get(first.workflow_instance_id)) == ("RUNNING" if resume_child else "TERMINATED")
    server.complete(second)
    server.take(family.after_type)


def test_a_sub_workflow_task_with_retries_starts_another_child(server: ServerUnderTest) -> None:
    family = Family(server, name=server.task_definition(retry_count=1))
    first = family.child_task()
    server.fail(first)
    second = family.child_task()
    assert second.workflow_instance_id != first.workflow_instance_id
    assert status(family.parent) == "RUNNING"
