"""The timeout of a workflow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wire import simple, status, statuses
from workflow_calls import pause, retry

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def started(server: ServerUnderTest, policy: str, task_type: str | None = None, **fields: object) -> str:
    """A workflow of one task with a timeout of one second; its id."""
    task_type = task_type or server.task_definition()
    name = server.workflow(simple(task_type, "only"), timeout_seconds=1, timeout_policy=policy, **fields)
    return server.start(name)


def test_a_workflow_times_out(server: ServerUnderTest) -> None:
    """Only with the policy that says so; a paused one too. All in one wait."""
    task_type = server.task_definition()
    timed_out = started(server, "TIME_OUT_WF")
    late = started(server, "TIME_OUT_WF", task_type)
    late_task = server.take(task_type)
    paused = started(server, "TIME_OUT_WF")
    pause(server, paused)
    alerted = started(server, "ALERT_ONLY")

    server.pass_time(1.1)
    for workflow_id in (timed_out, late, paused, alerted):
        server.decide(workflow_id)

    workflow = server.get(timed_out)
    assert (status(workflow), statuses(workflow)) == ("TIMED_OUT", ["CANCELED"])
    assert list(workflow.failed_reference_task_names) == []
    assert workflow.end_time > 0
    assert re.fullmatch(
        r"Workflow timed out after \d+ seconds\. Timeout configured as 1 seconds\."
        r" Timeout policy configured to TIME_OUT_WF",
        workflow.reason_for_incompletion,
    )
    assert status(server.get(paused)) == "TIMED_OUT"
    assert (status(server.get(alerted)), statuses(server.get(alerted))) == ("RUNNING", ["SCHEDULED"])
    server.complete(late_task)
    assert (status(server.get(late)), statuses(server.get(late))) == ("TIMED_OUT", ["CANCELED"])


def test_after_a_retry_the_time_counts_from_there(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type, "only"), timeout_seconds=20, timeout_policy="TIME_OUT_WF")
    workflow_id = server.start(name)
    server.terminate(workflow_id)
    server.pass_time(1)
    retry(server, workflow_id)
    workflow = server.get(workflow_id)
    assert workflow.last_retried_time - workflow.tasks[0].scheduled_time >= 900
    server.decide(workflow_id)
    assert status(server.get(workflow_id)) == "RUNNING"


def test_a_timed_out_workflow_starts_its_failure_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    handler = server.workflow(
        simple(task_type, "handle", input_parameters={"status": "${workflow.input.failureStatus}"})
    )
    workflow_id = started(server, "TIME_OUT_WF", failure_workflow=handler, failure_workflow_version=1)
    server.pass_time(1.1)
    server.decide(workflow_id)
    task = server.take(task_type)
    assert dict(task.input_data)["status"].string_value == "TIMED_OUT"
    output = server.get(workflow_id).output["conductor.failure_workflow"].string_value
    assert output == task.workflow_instance_id
