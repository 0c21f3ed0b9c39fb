"""TERMINATE: a task that ends its workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from control_tasks import fork, join, references, states_of_workers_tasks, switch, task_named, terminate_task
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, status

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

STATUSES = ["COMPLETED", "FAILED", "TERMINATED"]


@pytest.mark.parametrize("wanted", STATUSES)
def test_the_workflow_ends_as_it_says(server: ServerUnderTest, wanted: str) -> None:
    """At once, with its reason and its output in place of the workflow's own; nothing after it is scheduled."""
    task_type = server.task_definition()
    end = terminate_task(
        "end", wanted, terminationReason="seen ${one.output.x}", workflowOutput={"x": "${one.output.x}"}
    )
    name = server.workflow(simple(task_type, "one"), end, simple(task_type, "never"), output_parameters={"not": "this"})
    workflow_id = server.start(name)
    server.complete(server.take(task_type), x="1")
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == (wanted, "seen 1")
    assert plain(workflow.output) == {"x": "1"}
    assert references(workflow) == ["one", "end"]
    assert list(workflow.failed_reference_task_names) == []


def test_the_task_itself_completes(server: ServerUnderTest) -> None:
    end = terminate_task("end", "FAILED", workflowOutput={"x": "1"})
    task = task_named(server.get(server.start(server.workflow(end))), "end")
    assert (task.task_type, status(task)) == ("TERMINATE", "COMPLETED")
    assert plain(task.input_data) == {"terminationStatus": "FAILED", "workflowOutput": {"x": "1"}}
    assert plain(task.output_data) == {"x": "1"}


@pytest.mark.parametrize("wanted", STATUSES)
def test_without_a_reason_it_names_itself(server: ServerUnderTest, wanted: str) -> None:
    workflow = server.get(server.start(server.workflow(terminate_task("end", wanted))))
    task_id = workflow.tasks[0].task_id
    assert workflow.reason_for_incompletion == f"Workflow is {wanted} by TERMINATE task: {task_id}"


def test_without_an_output_the_workflow_has_none(server: ServerUnderTest) -> None:
    name = server.workflow(terminate_task("end", "COMPLETED"), output_parameters={"not": "this"})
    assert plain(server.get(server.start(name)).output) == {}


@pytest.mark.parametrize(
    ("given", "output"),
    [({"a": [1]}, {"a": [1.0]}), ("text", {"output": "text"}), (5, {"output": 5.0}), (["a"], {"output": ["a"]})],
    ids=repr,
)
def test_an_output_by_expression(server: ServerUnderTest, given: Any, output: dict[str, Any]) -> None:
    """What is not a map goes under the key `output`."""
    end = terminate_task("end", "COMPLETED", workflowOutput="${workflow.input.given}")
    workflow_id = server.start(server.workflow(end), {"given": given})
    assert plain(server.get(workflow_id).output) == output


def test_in_a_branch_it_cancels_the_others(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    branches = [simple(one, "a"), terminate_task("end", "TERMINATED", terminationReason="enough")], [simple(two, "b")]
    workflow_id = server.start(server.workflow(fork("fork", *branches), join("join", "end", "b")))
    open_task = server.take(two)
    server.complete(server.take(one))
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == ("TERMINATED", "enough")
    ended = {"fork": "COMPLETED", "a": "COMPLETED", "b": "CANCELED", "end": "COMPLETED"}
    assert states_of_workers_tasks(workflow) == ended
    server.complete(open_task)
    assert states_of_workers_tasks(server.get(workflow_id)) == ended


def test_in_a_switch(server: ServerUnderTest) -> None:
    end = terminate_task("end", "COMPLETED", workflowOutput={"x": "1"})
    node = switch("switch", "yes", {"yes": [end]})
    workflow = server.get(server.start(server.workflow(node, simple(server.task_definition(), "never"))))
    assert (status(workflow), references(workflow)) == ("COMPLETED", ["switch", "end"])
    assert plain(workflow.output) == {"x": "1"}


@pytest.mark.parametrize("wanted", ["RUNNING", "nope", "", "${workflow.input.status}"])
def test_the_status_must_be_one_that_ends(server: ServerUnderTest, wanted: str) -> None:
    assert error_of(lambda: server.workflow(terminate_task("end", wanted))) == UNEXPLAINED
