"""The workflow that is started when another one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from control_tasks import terminate_task
from wire import error_of, plain, simple, status
from workflow_calls import retry

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflow_pb2 import Workflow

STARTED = "conductor.failure_workflow"  # the key of the failed workflow's output that holds the id


class Handled:
    """A workflow of one task with a failure workflow, which also has one task."""

    def __init__(self, server: ServerUnderTest, start: dict[str, Any] | None = None, **fields: Any) -> None:
        self._server = server
        self.failing_type, self.handler_type = server.task_definition(), server.task_definition()
        keys = ["workflowId", "reason", "failureStatus", "failureTaskId", "k"]
        node = simple(self.handler_type, input_parameters={key: f"${{workflow.input.{key}}}" for key in keys})
        self.handler_name = server.workflow(node)
        named = {"failure_workflow": self.handler_name, "failure_workflow_version": 1}
        given = {
            key: value.replace("HANDLER", self.handler_name) if isinstance(value, str) else value
            for key, value in {**named, **fields}.items()
        }
        name = server.workflow(simple(self.failing_type, "only"), output_parameters={"x": "${only.output.x}"}, **given)
        self.id = server.start(name, {"k": "v", "handler": self.handler_name}, **(start or {}))

    def fail(self) -> str:
        """Fails its task, whose id is returned."""
        task = self._server.take(self.failing_type)
        self._server.fail(task, "bad")
        return task.task_id

    @property
    def workflow(self) -> Workflow:
        return self._server.get(self.id)

    @property
    def output(self) -> dict[str, Any]:
        return plain(self.workflow.output)


def test_it_is_started_with_the_input_of_the_failed_one_and_what_happened(server: ServerUnderTest) -> None:
    handled = Handled(server)
    task_id = handled.fail()
    assert plain(server.take(handled.handler_type).input_data) == {
        "workflowId": handled.id,
        "reason": f"Task {task_id} failed with status: FAILED and reason: 'bad'",
        "failureStatus": "FAILED",
        "failureTaskId": task_id,
        "k": "v",
    }


def test_its_id_is_added_to_the_output_of_the_failed_one(server: ServerUnderTest) -> None:
    handled = Handled(server)
    handled.fail()
    assert handled.output == {"x": None, STARTED: server.take(handled.handler_type).workflow_instance_id}


def test_it_has_the_correlation_id_and_the_domains_of_the_failed_one(server: ServerUnderTest) -> None:
    domain = server.unique("domain")
    handled = Handled(server, {"correlation_id": "order 7", "task_to_domain": {"*": domain}, "priority": 5})
    task = server.take(handled.failing_type, domain=domain)
    server.fail(task)
    started = server.take(handled.handler_type, domain=domain)
    assert (started.correlation_id, started.domain, started.workflow_priority) == ("order 7", domain, 0)


def test_it_holds_the_whole_failed_workflow_and_so_cannot_be_read(server: ServerUnderTest) -> None:
    """The times in it are integers."""
    handled = Handled(server)
    handled.fail()
    workflow_id = handled.output[STARTED]
    failure = error_of(lambda: server.get(workflow_id, tasks=False))
    assert (failure.code.name, failure.java_class) == ("INTERNAL", "ClassCastException")
    assert failure.details.startswith("cannot map to Value type: ")


@pytest.mark.parametrize("version", [0, 7])
def test_a_version_that_does_not_exist_is_told_in_the_output(server: ServerUnderTest, version: int) -> None:
    """0 does not mean the latest here."""
    handled = Handled(server, failure_workflow_version=version)
    handled.fail()
    assert status(handled.workflow) == "FAILED"
    assert handled.output[STARTED] == (
        f"Error workflow {handled.handler_name} failed to start."
        f"  reason: No such workflow defined. name={handled.handler_name}, version={version}"
    )


def test_a_name_that_does_not_exist_is_told_in_the_output(server: ServerUnderTest) -> None:
    handled = Handled(server, failure_workflow="nope")
    handled.fail()
    reason = "No such workflow defined. name=nope, version=1"
    assert handled.output[STARTED] == f"Error workflow nope failed to start.  reason: {reason}"


def test_its_name_may_be_in_the_input(server: ServerUnderTest) -> None:
    handled = Handled(server, failure_workflow="$workflow.input.handler")
    handled.fail()
    server.take(handled.handler_type)


def test_its_name_in_braces_is_not_found(server: ServerUnderTest) -> None:
    handled = Handled(server, failure_workflow="${workflow.input.handler}")
    handled.fail()
    assert (status(handled.workflow), handled.output) == ("FAILED", {"x": None})


def test_a_terminated_workflow_starts_none(server: ServerUnderTest) -> None:
    handled = Handled(server)
    server.terminate(handled.id, "enough")
    assert (status(handled.workflow), handled.output) == ("TERMINATED", {"x": None})


def test_a_task_that_its_worker_cancels_starts_it(server: ServerUnderTest) -> None:
    handled = Handled(server)
    server.update(server.take(handled.failing_type), "CANCELED")
    assert status(handled.workflow) == "TERMINATED"
    assert plain(server.take(handled.handler_type).input_data)["failureStatus"] == "TERMINATED"


@pytest.mark.parametrize("wanted", ["FAILED", "TERMINATED"])
def test_a_terminate_task_starts_it(server: ServerUnderTest, wanted: str) -> None:
    task_type = server.task_definition()
    handler = server.workflow(simple(task_type))
    end = terminate_task("end", wanted, workflowOutput={"x": "1"})
    workflow_id = server.start(server.workflow(end, failure_workflow=handler, failure_workflow_version=1))
    started = server.take(task_type).workflow_instance_id
    assert plain(server.get(workflow_id).output) == {"x": "1", STARTED: started}


def test_a_completed_workflow_starts_none(server: ServerUnderTest) -> None:
    handled = Handled(server)
    server.complete(server.take(handled.failing_type), x="1")
    assert handled.output == {"x": "1"}


def test_a_workflow_that_fails_again_starts_another_one(server: ServerUnderTest) -> None:
    handled = Handled(server)
    handled.fail()
    first = handled.output[STARTED]
    retry(server, handled.id)
    assert handled.output[STARTED] == first
    handled.fail()
    assert handled.output[STARTED] != first
