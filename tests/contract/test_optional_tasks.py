"""Optional and permissive tasks: a failure that does not end the workflow, or not at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import states
from wire import plain, simple, status, statuses

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def optional_then_another(server: ServerUnderTest, retry_count: int = 0, **fields: object) -> tuple[str, str, str]:
    """A workflow whose first task is optional unless the fields say else; both types and its id."""
    one, two = server.task_definition(retry_count=retry_count), server.task_definition()
    inputs = {"x": "${one.output.x}", "status": "${one.status}"}
    fields = fields or {"optional": True}
    nodes = simple(one, "one", **fields), simple(two, "two", input_parameters=inputs)
    return one, two, server.start(server.workflow(*nodes))


@pytest.mark.parametrize("failed", ["FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED"])
def test_an_optional_task_that_fails_completes_with_errors(server: ServerUnderTest, failed: str) -> None:
    one, two, workflow_id = optional_then_another(server)
    server.update(server.take(one), failed, {"x": "partial"}, reason_for_incompletion="bad")
    task = server.take(two)
    assert plain(task.input_data) == {"x": "partial", "status": "COMPLETED_WITH_ERRORS"}
    workflow = server.get(workflow_id)
    assert (statuses(workflow), workflow.tasks[0].reason_for_incompletion) == (
        ["COMPLETED_WITH_ERRORS", "IN_PROGRESS"],
        "bad",
    )
    server.complete(task)
    workflow = server.get(workflow_id)
    assert (status(workflow), list(workflow.failed_reference_task_names)) == ("COMPLETED", [])


@pytest.mark.parametrize("failed", ["FAILED", "FAILED_WITH_TERMINAL_ERROR"])
def test_an_optional_last_task_may_fail(server: ServerUnderTest, failed: str) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type, optional=True)))
    server.update(server.take(task_type), failed, {"x": "partial"})
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "partial"})


def test_an_optional_task_is_retried_first(server: ServerUnderTest) -> None:
    one, two, workflow_id = optional_then_another(server, retry_count=1)
    server.fail(server.take(one))
    assert statuses(server.get(workflow_id)) == ["FAILED", "SCHEDULED"]
    server.fail(server.take(one))
    assert statuses(server.get(workflow_id)) == ["FAILED", "COMPLETED_WITH_ERRORS", "SCHEDULED"]
    server.take(two)


def test_an_optional_task_that_completes_is_like_any_other(server: ServerUnderTest) -> None:
    one, two, _ = optional_then_another(server)
    server.complete(server.take(one), x="1")
    assert plain(server.take(two).input_data) == {"x": "1", "status": "COMPLETED"}


def test_a_permissive_task_that_fails_lets_the_next_one_go_on(server: ServerUnderTest) -> None:
    """The workflow fails at its end."""
    one, two, workflow_id = optional_then_another(server, permissive=True)
    failed = server.take(one)
    server.fail(failed, "bad")
    assert (status(server.get(workflow_id)), states(server.get(workflow_id))["one"]) == ("RUNNING", "FAILED")
    task = server.take(two)
    assert plain(task.input_data) == {"x": None, "status": "FAILED"}
    server.complete(task)
    workflow = server.get(workflow_id)
    assert (status(workflow), list(workflow.failed_reference_task_names)) == ("FAILED", ["one"])
    assert workflow.reason_for_incompletion == f"Task {failed.task_id} failed with status: FAILED and reason: 'bad'"
