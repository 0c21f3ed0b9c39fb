"""Task timeouts of 1 s, all let pass at once: response, execution, poll and total, with each policy.

The server looks at a deadline in time where it knows of it; a total timeout it meets only at its next look at the
workflow, which `DecideWorkflow` brings about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from wire import simple, status, statuses

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task
    from conductor_grpc.pb.model.workflow_pb2 import Workflow

EXECUTION = {"timeout_seconds": 1, "response_timeout_seconds": 1}
POLL = {"poll_timeout_seconds": 1}
TOTAL = {"total_timeout_seconds": 1}
RESPONSE = {"response_timeout_seconds": 1}


@dataclass(frozen=True)
class Late:
    """A workflow whose task has run into its timeout, and that task as it was before."""

    workflow_id: str
    task: Task


@pytest.fixture(scope="module")
def late(server: ServerUnderTest) -> dict[str, Late]:
    """One for each case below, by a name; 2.1 s old."""
    retry, time_out, alert_only = ({"timeout_policy": name} for name in ("RETRY", "TIME_OUT_WF", "ALERT_ONLY"))
    started = {
        "response": start(server, RESPONSE, retry_count=1),
        "response, no retry": start(server, RESPONSE),
        "response, alert only": start(server, RESPONSE | alert_only, retry_count=1),
        "response, answered late": start(server, RESPONSE, retry_count=1),
        "execution, retry": start(server, EXECUTION | retry, retry_count=1),
        "execution, time out": start(server, EXECUTION | time_out, retry_count=1),
        "execution, alert only": start(server, EXECUTION | alert_only, retry_count=1),
        "poll, retry": start(server, POLL | retry, retry_count=9, polled=False),
        "poll, time out": start(server, POLL | time_out, retry_count=1, polled=False),
        "poll, alert only": start(server, POLL | alert_only, retry_count=1, polled=False),
        "poll, polled in time": start(server, POLL | time_out, retry_count=1),
        "poll, delayed": start(server, POLL | time_out, polled=False, start_delay=60),
        "total, retry": start(server, TOTAL | retry, retry_count=5),
        "total, time out": start(server, TOTAL | time_out, retry_count=5),
        "total, alert only": start(server, TOTAL | alert_only, retry_count=5),
        "total, not polled": start(server, TOTAL | time_out, polled=False),
        "total, failed": start(server, TOTAL | alert_only, retry_count=5),
        "optional": start(server, RESPONSE, nodes=2, optional=True),
        "optional, last": start(server, RESPONSE, optional=True),
        "permissive, last": start(server, RESPONSE, permissive=True),
    }
    server.pass_time(2.1)
    return started


def start(
    server: ServerUnderTest,
    timeout: dict[str, Any],
    retry_count: int = 0,
    polled: bool = True,
    nodes: int = 1,
    **of_node: int,
) -> Late:
    """A workflow of so many tasks; the first has the timeout, and these fields."""
    task_type = server.task_definition(**timeout, retry_count=retry_count)
    others = [simple(server.unique()) for _ in range(nodes - 1)]
    workflow_id = server.start(server.workflow(simple(task_type, **of_node), *others))
    return Late(workflow_id, server.take(task_type) if polled else server.get(workflow_id).tasks[0])


def looked_at(server: ServerUnderTest, late: Late) -> Workflow:
    """The workflow after the server has been made to look at it."""
    server.decide(late.workflow_id)
    return server.get(late.workflow_id)


def outcome(workflow: Workflow) -> tuple[str, list[str]]:
    return status(workflow), statuses(workflow)


RETRIED = ("RUNNING", ["TIMED_OUT", "SCHEDULED"])
TIMED_OUT = ("TIMED_OUT", ["TIMED_OUT"])

# -- response timeout --


def test_the_server_notices_a_timeout_by_itself(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow_id = late["response"].workflow_id
    server.until(lambda: outcome(server.get(workflow_id)) == RETRIED, seconds=10)


def test_a_task_not_answered_in_time_is_retried(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["response"])
    assert outcome(workflow) == RETRIED
    timed_out, retry = workflow.tasks
    assert timed_out.reason_for_incompletion == response_reason(timed_out)
    assert (timed_out.retried, retry.retried_task_id, retry.retry_count) == (True, timed_out.task_id, 1)
    assert timed_out.end_time >= timed_out.start_time + 1000


def response_reason(task: Task) -> str:
    return f"responseTimeout: 1 exceeded for the taskId: {task.task_id} with Task Definition: {task.task_def_name}"


def test_without_a_retry_left_the_workflow_times_out(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["response, no retry"])
    assert outcome(workflow) == TIMED_OUT
    (task,) = workflow.tasks
    reason = f"Task {task.task_id} failed with status: TIMED_OUT and reason: '{response_reason(task)}'"
    assert workflow.reason_for_incompletion == reason


def test_the_response_timeout_is_retried_whatever_the_policy(server: ServerUnderTest, late: dict[str, Late]) -> None:
    assert outcome(looked_at(server, late["response, alert only"])) == RETRIED


def test_an_answer_after_the_timeout_is_ignored(server: ServerUnderTest, late: dict[str, Late]) -> None:
    case = late["response, answered late"]
    before = looked_at(server, case)
    assert outcome(before) == RETRIED
    server.complete(case.task, late=True)
    assert server.get(case.workflow_id).tasks == before.tasks
    server.complete(server.take(case.task.task_type))
    assert outcome(server.get(case.workflow_id)) == ("COMPLETED", ["TIMED_OUT", "COMPLETED"])


def test_after_an_optional_task_that_times_out_the_next_is_scheduled(
    server: ServerUnderTest, late: dict[str, Late]
) -> None:
    workflow = looked_at(server, late["optional"])
    assert outcome(workflow) == ("RUNNING", ["COMPLETED_WITH_ERRORS", "SCHEDULED"])
    assert workflow.tasks[0].reason_for_incompletion == response_reason(workflow.tasks[0])


def test_an_optional_task_that_times_out_last_is_not_stored_so(server: ServerUnderTest, late: dict[str, Late]) -> None:
    """The look that ends a workflow well stores nothing that it has just decided of the tasks."""
    case = late["optional, last"]
    assert outcome(looked_at(server, case)) == ("COMPLETED", ["IN_PROGRESS"])
    # Its workflow has ended, so that nothing can change it any more.
    server.complete(case.task)
    assert outcome(server.get(case.workflow_id)) == ("COMPLETED", ["IN_PROGRESS"])


def test_a_permissive_task_that_times_out_last_is_canceled(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["permissive, last"])
    assert outcome(workflow) == ("FAILED", ["CANCELED"])
    (task,) = workflow.tasks
    reason = f"Task {task.task_id} failed with status: TIMED_OUT and reason: '{response_reason(task)}'"
    assert workflow.reason_for_incompletion == reason


# -- execution timeout --


def test_a_task_that_takes_too_long_is_retried_by_policy(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["execution, retry"])
    assert outcome(workflow) == RETRIED
    expected = r"Task timed out after \d+ seconds. Timeout configured as 1 seconds. Timeout policy configured to RETRY"
    assert re.fullmatch(expected, workflow.tasks[0].reason_for_incompletion)


def test_a_task_that_takes_too_long_ends_the_workflow_by_policy(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["execution, time out"])
    assert outcome(workflow) == TIMED_OUT
    expected = r"Task timed out after \d+ seconds. .* Timeout policy configured to TIME_OUT_WF"
    assert re.fullmatch(expected, workflow.reason_for_incompletion)
    assert workflow.tasks[0].reason_for_incompletion == workflow.reason_for_incompletion


def test_by_alert_only_the_response_timeout_is_left_to_act(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["execution, alert only"])
    assert outcome(workflow) == RETRIED
    assert workflow.tasks[0].reason_for_incompletion == response_reason(workflow.tasks[0])


# -- poll timeout --


def test_a_task_not_polled_in_time_is_retried_by_policy(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["poll, retry"])
    # The retry may have run into its own poll timeout by now.
    assert (status(workflow), statuses(workflow)[0]) == ("RUNNING", "TIMED_OUT")
    expected = r"Task poll timed out after \d+ seconds. Poll timeout configured as 1 seconds. .* configured to RETRY"
    assert re.fullmatch(expected, workflow.tasks[0].reason_for_incompletion)


def test_a_task_not_polled_in_time_ends_the_workflow_by_policy(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["poll, time out"])
    assert outcome(workflow) == TIMED_OUT
    assert workflow.reason_for_incompletion.endswith("Timeout policy configured to TIME_OUT_WF")


def test_by_alert_only_a_task_not_polled_stays(server: ServerUnderTest, late: dict[str, Late]) -> None:
    assert outcome(looked_at(server, late["poll, alert only"])) == ("RUNNING", ["SCHEDULED"])


def test_a_task_polled_in_time_has_no_poll_timeout(server: ServerUnderTest, late: dict[str, Late]) -> None:
    assert outcome(looked_at(server, late["poll, polled in time"])) == ("RUNNING", ["IN_PROGRESS"])


def test_the_poll_timeout_begins_after_the_start_delay(server: ServerUnderTest, late: dict[str, Late]) -> None:
    assert outcome(looked_at(server, late["poll, delayed"])) == ("RUNNING", ["SCHEDULED"])


# -- total timeout --


def total_reason(task: Task, policy: str) -> str:
    return (
        rf"Task {task.task_def_name}/{task.task_id} exceeded total timeout of 1 seconds \(elapsed \d+ seconds "
        rf"across all attempts including retry delays\). Timeout policy: {policy}"
    )


def no_retry_reason(task: Task) -> str:
    return (
        rf"Task {task.task_id}/{task.task_def_name} exceeded total timeout of 1 seconds "
        r"\(elapsed \d+ seconds across all attempts\). No further retries will be attempted."
    )


@pytest.mark.parametrize("case", ["total, time out", "total, not polled"])
def test_the_total_timeout_ends_the_workflow(server: ServerUnderTest, late: dict[str, Late], case: str) -> None:
    workflow = looked_at(server, late[case])
    assert outcome(workflow) == TIMED_OUT
    assert re.fullmatch(total_reason(workflow.tasks[0], "TIME_OUT_WF"), workflow.reason_for_incompletion)


def test_after_the_total_timeout_nothing_is_retried(server: ServerUnderTest, late: dict[str, Late]) -> None:
    workflow = looked_at(server, late["total, retry"])
    assert outcome(workflow) == TIMED_OUT
    (task,) = workflow.tasks
    assert re.fullmatch(total_reason(task, "RETRY"), task.reason_for_incompletion)
    assert re.fullmatch(no_retry_reason(task), workflow.reason_for_incompletion)


def test_by_alert_only_the_total_timeout_leaves_the_task(server: ServerUnderTest, late: dict[str, Late]) -> None:
    assert outcome(looked_at(server, late["total, alert only"])) == ("RUNNING", ["IN_PROGRESS"])


def test_a_failure_after_the_total_timeout_is_not_retried(server: ServerUnderTest, late: dict[str, Late]) -> None:
    case = late["total, failed"]
    server.fail(case.task)
    workflow = server.get(case.workflow_id)
    assert outcome(workflow) == ("FAILED", ["FAILED"])
    assert re.fullmatch(no_retry_reason(case.task), workflow.reason_for_incompletion)
