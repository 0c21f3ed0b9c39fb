"""WAIT and HUMAN: tasks that end by time or from outside."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from control_tasks import references, states, task_named
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, status, task_of

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

FOR_EVER = 2**31 - 1  # callback seconds of a task that only an update ends


def waiting(server: ServerUnderTest, kind: str = "WAIT", **inputs: str) -> tuple[str, str]:
    """A workflow that waits, then goes on to `next`; the type of that task and the workflow's id."""
    task_type = server.task_definition()
    follower = simple(task_type, "next", input_parameters={"from": "${wait.output}"})
    name = server.workflow(task_of(kind, "wait", input_parameters=inputs), follower)
    return task_type, server.start(name)


@pytest.mark.parametrize("kind", ["WAIT", "HUMAN"])
def test_it_is_in_progress_until_somebody_ends_it(server: ServerUnderTest, kind: str) -> None:
    _, workflow_id = waiting(server, kind, ask="who")
    (task,) = server.get(workflow_id).tasks
    assert (task.task_type, status(task), plain(task.input_data)) == (kind, "IN_PROGRESS", {"ask": "who"})
    assert (task.poll_count, task.end_time) == (0, 0)
    assert task.start_time > 0


def test_a_poll_of_human_tasks_does_not_get_it(server: ServerUnderTest) -> None:
    _, workflow_id = waiting(server, "HUMAN")
    polled = server.poll("HUMAN", count=100, wait=-1)
    assert workflow_id not in [task.workflow_instance_id for task in polled]


@pytest.mark.parametrize("kind", ["WAIT", "HUMAN"])
def test_an_update_completes_it(server: ServerUnderTest, kind: str) -> None:
    task_type, workflow_id = waiting(server, kind)
    server.complete(server.get(workflow_id).tasks[0], answer="42")
    assert plain(server.take(task_type).input_data) == {"from": {"answer": "42"}}
    assert states(server.get(workflow_id)) == {"wait": "COMPLETED", "next": "IN_PROGRESS"}


@pytest.mark.parametrize("kind", ["WAIT", "HUMAN"])
def test_an_update_in_progress_leaves_it_so_with_a_new_output(server: ServerUnderTest, kind: str) -> None:
    _, workflow_id = waiting(server, kind)
    server.update(server.get(workflow_id).tasks[0], "IN_PROGRESS", {"half": "done"})
    (task,) = server.get(workflow_id).tasks
    assert (status(task), plain(task.output_data)) == ("IN_PROGRESS", {"half": "done"})


@pytest.mark.parametrize("kind", ["WAIT", "HUMAN"])
def test_an_update_can_fail_it(server: ServerUnderTest, kind: str) -> None:
    _, workflow_id = waiting(server, kind)
    (task,) = server.get(workflow_id).tasks
    server.fail(task, "no")
    workflow = server.get(workflow_id)
    assert (status(workflow), list(workflow.failed_task_names)) == ("FAILED", ["wait"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'no'"


@pytest.mark.parametrize("kind", ["WAIT", "HUMAN"])
def test_terminate_cancels_it(server: ServerUnderTest, kind: str) -> None:
    _, workflow_id = waiting(server, kind)
    server.terminate(workflow_id)
    assert states(server.get(workflow_id)) == {"wait": "CANCELED"}


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("1s", 1),
        ("2 sec", 2),
        ("3 seconds ", 3),
        ("1 minute 1 sec", 61),
        ("1h", 3600),
        ("2 days", 172_800),
        ("1d 1h 1m 1s", 90_061),
        ("", FOR_EVER),
    ],
)
def test_a_wait_tells_how_long_it_waits(server: ServerUnderTest, duration: str, seconds: int) -> None:
    _, workflow_id = waiting(server, duration=duration)
    (task,) = server.get(workflow_id).tasks
    assert (status(task), task.callback_after_seconds) == ("IN_PROGRESS", seconds)


def test_a_wait_without_a_time_waits_for_an_update(server: ServerUnderTest) -> None:
    _, workflow_id = waiting(server)
    assert server.get(workflow_id).tasks[0].callback_after_seconds == FOR_EVER


def test_a_duration_goes_by(server: ServerUnderTest) -> None:
    before = server.seconds()
    task_type, workflow_id = waiting(server, duration="1 seconds")
    server.until(lambda: states(server.get(workflow_id))["wait"] == "COMPLETED", seconds=5)
    assert server.seconds() - before >= 1
    assert plain(server.take(task_type).input_data) == {"from": {}}
    task = task_named(server.get(workflow_id), "wait")
    assert task.end_time - task.start_time >= 900
    assert task.update_time == task.end_time


def test_a_duration_of_nothing_goes_by_at_once(server: ServerUnderTest) -> None:
    task_type, _ = waiting(server, duration="0 seconds")
    server.take(task_type)


@pytest.mark.parametrize("until", ["2000-01-01", "2000-01-01 00:00", "2000-01-01 00:00 GMT+00:00"])
def test_a_past_time_does_not_wait(server: ServerUnderTest, until: str) -> None:
    task_type, _ = waiting(server, until=until)
    assert plain(server.take(task_type).input_data) == {"from": {}}


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M GMT+00:00", "%Y-%m-%d %H:%M UTC"])
def test_a_wait_until_a_time_to_come(server: ServerUnderTest, form: str) -> None:
    until = datetime.datetime.fromtimestamp(now_on(server) + 7200, datetime.timezone.utc)
    _, workflow_id = waiting(server, until=until.strftime(form))
    (task,) = server.get(workflow_id).tasks
    assert status(task) == "IN_PROGRESS"
    assert 7100 < task.callback_after_seconds <= 7200


def now_on(server: ServerUnderTest) -> float:
    """Seconds since 1970 on the server, as it wrote them to a task."""
    _, workflow_id = waiting(server)
    return server.get(workflow_id).tasks[0].start_time / 1000


@pytest.mark.parametrize(
    "inputs",
    [
        {"duration": "1"},
        {"duration": "PT1S"},
        {"duration": "nope"},
        {"until": "nope"},
        {"until": "2000-01-01T00:00:00Z"},
        {"until": "2000-01-01", "duration": "1s"},
    ],
    ids=str,
)
def test_a_time_that_cannot_be_read_is_refused(server: ServerUnderTest, inputs: dict[str, str]) -> None:
    assert error_of(lambda: server.workflow(task_of("WAIT", "wait", input_parameters=inputs))) == UNEXPLAINED


def test_a_time_that_turns_out_to_be_none_fails_the_task(server: ServerUnderTest) -> None:
    name = server.workflow(task_of("WAIT", "wait", input_parameters={"until": "${workflow.input.u}"}))
    workflow_id = server.start(name, {"u": "nope"})
    (task,) = server.get(workflow_id).tasks
    assert status(task) == "FAILED_WITH_TERMINAL_ERROR"
    assert task.reason_for_incompletion == "Invalid/Unsupported Wait Until format.  Provided: nope"
    server.decide(workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), references(workflow)) == ("FAILED", ["wait"])
