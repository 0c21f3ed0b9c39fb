"""Retries: what another attempt is like, how long it is postponed, how many there are, and tasks that may fail.

Attempts are failed without a poll where only the next delay matters: nothing has to be waited for then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import plain, simple, status, statuses

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task


def fail_latest(server: ServerUnderTest, workflow_id: str) -> Task:
    """Fails the latest attempt without a poll; the one that follows."""
    server.fail(server.get(workflow_id).tasks[-1])
    return server.get(workflow_id).tasks[-1]


def delays(server: ServerUnderTest, count: int, **definition: object) -> list[int]:
    """The seconds by which the server postpones so many retries, one after the other."""
    _, workflow_id = server.start_task(retry_count=count, **definition)
    attempts = [fail_latest(server, workflow_id) for _ in range(count)]
    assert [attempt.retry_count for attempt in attempts] == list(range(1, count + 1))
    assert all(attempt.start_delay_in_seconds == attempt.callback_after_seconds for attempt in attempts)
    return [attempt.callback_after_seconds for attempt in attempts]


# -- another attempt --


def test_a_retry_is_a_new_task(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task({"x": "y"}, retry_count=1)
    first = server.take(task_type)
    server.update(first, "FAILED", {"o": "p"}, reason_for_incompletion="broke")
    workflow = server.get(workflow_id)
    failed, retry = workflow.tasks
    assert (status(workflow), statuses(workflow)) == ("RUNNING", ["FAILED", "SCHEDULED"])
    assert (failed.task_id, failed.retried, plain(failed.output_data)) == (first.task_id, True, {"o": "p"})
    assert retry.task_id != first.task_id
    assert (retry.retried_task_id, retry.retry_count, retry.seq) == (first.task_id, 1, 2)
    assert (retry.reference_task_name, retry.reason_for_incompletion) == (first.reference_task_name, "broke")
    assert (retry.poll_count, retry.worker_id, retry.start_time, retry.end_time) == (0, "", 0, 0)
    assert (plain(retry.input_data), plain(retry.output_data)) == ({"x": "y"}, {})
    assert retry.scheduled_time >= failed.scheduled_time


def test_retries_form_a_chain_until_they_are_used_up(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task(retry_count=2)
    attempts = []
    for number in range(3):
        attempts.append(server.take(task_type))
        server.fail(attempts[-1], f"failure {number}")
    workflow = server.get(workflow_id)
    assert [task.retried_task_id for task in workflow.tasks] == ["", attempts[0].task_id, attempts[1].task_id]
    assert [task.retried for task in workflow.tasks] == [True, True, False]
    assert (status(workflow), statuses(workflow)) == ("FAILED", ["FAILED"] * 3)
    reason = f"Task {attempts[2].task_id} failed with status: FAILED and reason: 'failure 2'"
    assert workflow.reason_for_incompletion == reason


def test_a_retry_may_succeed(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task(retry_count=1)
    server.fail(server.take(task_type))
    server.complete(server.take(task_type), good="now")
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("COMPLETED", ["FAILED", "COMPLETED"])
    assert plain(workflow.output) == {"good": "now"}


# -- delays --


def test_a_postponed_retry_is_delivered_when_it_is_due(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task(retry_count=1, retry_delay_seconds=1)
    server.fail(server.take(task_type))
    assert server.poll(task_type, wait=100) == []
    server.pass_time(1)
    retry = server.take(task_type)
    assert retry.start_time - retry.scheduled_time >= 1000


def test_fixed_delays_are_equal(server: ServerUnderTest) -> None:
    assert delays(server, 4, retry_logic="FIXED", retry_delay_seconds=7) == [7, 7, 7, 7]


def test_linear_delays_grow_by_the_scale_factor(server: ServerUnderTest) -> None:
    linear = {"retry_logic": "LINEAR_BACKOFF", "retry_delay_seconds": 3, "backoff_scale_factor": 5}
    assert delays(server, 4, **linear) == [15, 30, 45, 60]


def test_exponential_delays_double_whatever_the_scale_factor(server: ServerUnderTest) -> None:
    exponential = {"retry_logic": "EXPONENTIAL_BACKOFF", "retry_delay_seconds": 3, "backoff_scale_factor": 5}
    assert delays(server, 4, **exponential) == [3, 6, 12, 24]


def test_the_longest_delay_caps_the_others(server: ServerUnderTest) -> None:
    capped = {"retry_logic": "EXPONENTIAL_BACKOFF", "retry_delay_seconds": 3, "max_retry_delay_seconds": 10}
    assert delays(server, 4, **capped) == [3, 6, 10, 10]


def test_a_delay_that_overflows_is_the_largest_integer(server: ServerUnderTest) -> None:
    huge = {"retry_logic": "EXPONENTIAL_BACKOFF", "retry_delay_seconds": 2_000_000_000}
    assert delays(server, 2, **huge) == [2_000_000_000, 2**31 - 1]


def test_jitter_does_not_show_in_the_delay(server: ServerUnderTest) -> None:
    assert delays(server, 3, retry_delay_seconds=4, backoff_jitter_ms=1500) == [4, 4, 4]


@pytest.mark.differs("sqlite", "jitter is cut to whole seconds; elsewhere it counts in milliseconds")
def test_jitter_is_added_to_the_delay(server: ServerUnderTest) -> None:
    task_type = server.task_definition(retry_count=1, backoff_jitter_ms=600)
    name = server.workflow(simple(task_type))
    for _ in range(8):
        fail_latest(server, server.start(name))
    retries = []
    while len(retries) < 8:
        retries += server.until(lambda: server.poll(task_type, count=8, wait=200), seconds=5)
    waited = [retry.start_time - retry.scheduled_time for retry in retries]
    # The poll that fills its batch adds up to 200 ms of its own, the next look 100 ms.
    assert max(waited) < 600 + 1000
    assert server.name == "sqlite" or max(waited) > 100


# -- how many --


@pytest.mark.parametrize(
    ("of_workflow_task", "attempts"), [(-1, 2), (0, 1), (1, 2), (2, 3)], ids=["unset", "none", "one", "two"]
)
def test_retries_of_the_workflow_task_win_over_those_of_the_definition(
    server: ServerUnderTest, of_workflow_task: int, attempts: int
) -> None:
    task_type = server.task_definition(retry_count=1)
    workflow_id = server.start(server.workflow(simple(task_type, retry_count=of_workflow_task)))
    for _ in range(attempts):
        assert status(server.get(workflow_id)) == "RUNNING"
        fail_latest(server, workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), len(workflow.tasks)) == ("FAILED", attempts)


def test_retries_of_a_task_without_definition_are_3_after_60_seconds(server: ServerUnderTest) -> None:
    workflow_id = server.start(server.workflow(simple(server.unique())))
    assert [fail_latest(server, workflow_id).callback_after_seconds for _ in range(3)] == [60, 60, 60]
    fail_latest(server, workflow_id)
    assert status(server.get(workflow_id)) == "FAILED"


# -- tasks that may fail --


@pytest.mark.parametrize("result", ["FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED"])
def test_an_optional_task_completes_with_errors(server: ServerUnderTest, result: str) -> None:
    failing, second = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(failing, optional=True), simple(second)))
    server.update(server.take(failing), result, reason_for_incompletion="why")
    assert statuses(server.get(workflow_id)) == ["COMPLETED_WITH_ERRORS", "SCHEDULED"]
    server.complete(server.take(second))
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.tasks[0].reason_for_incompletion) == ("COMPLETED", "why")


def test_a_failed_optional_task_at_the_end_stays_failed(server: ServerUnderTest) -> None:
    """The decision that ends a workflow well stores nothing that it has just decided of the tasks."""
    failing = server.task_definition()
    workflow_id = server.start(server.workflow(simple(failing, optional=True)))
    server.fail(server.take(failing))
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("COMPLETED", ["FAILED"])


def test_an_optional_task_is_retried_first(server: ServerUnderTest) -> None:
    failing, second = server.task_definition(retry_count=1), server.task_definition()
    workflow_id = server.start(server.workflow(simple(failing, optional=True), simple(second)))
    server.fail(server.take(failing))
    assert statuses(server.get(workflow_id)) == ["FAILED", "SCHEDULED"]
    server.fail(server.take(failing))
    assert statuses(server.get(workflow_id)) == ["FAILED", "COMPLETED_WITH_ERRORS", "SCHEDULED"]


@pytest.mark.parametrize("result", ["FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED"])
def test_a_permissive_task_lets_the_workflow_go_on(server: ServerUnderTest, result: str) -> None:
    failing, second = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(failing, permissive=True), simple(second)))
    server.update(server.take(failing), result)
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("RUNNING", [result, "SCHEDULED"])


def test_a_permissive_task_that_failed_fails_the_workflow_at_its_end(server: ServerUnderTest) -> None:
    failing, second = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(failing, permissive=True), simple(second)))
    task = server.take(failing)
    server.fail(task, "why")
    server.complete(server.take(second))
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("FAILED", ["FAILED", "COMPLETED"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'why'"
