"""RestartWorkflow: a workflow that has ended begins anew, under its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_tasks import references, set_variable, sub_workflow
from definition_calls import create_workflow, update_workflows
from wire import error_of, plain, simple, status, statuses
from workflow_calls import failure, pause, restart, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def failed(server: ServerUnderTest, **fields: object) -> tuple[str, str]:
    """A workflow whose only task has failed; the type of that task and the workflow's id."""
    task_type = server.task_definition()
    node = simple(task_type, "only", input_parameters={"k": "${workflow.input.k}"})
    name = server.workflow(node, output_parameters={"x": "${only.output.x}"}, **fields)
    workflow_id = server.start(name, {"k": "v"}, correlation_id="order 7", priority=5)
    server.fail(server.take(task_type), "bad")
    return task_type, workflow_id


def test_restart_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: restart(server, "nope")) == unknown_workflow("nope")


def test_restart_needs_a_workflow_id(server: ServerUnderTest) -> None:
    expected = failure("restartWorkflow.arg0: WorkflowId cannot be null or empty.", "ConstraintViolationException")
    assert error_of(lambda: restart(server, "")) == expected


def test_restart_of_an_open_workflow(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition()))
    workflow_id = server.start(name)
    expected = f"Workflow: {name}.1/{workflow_id}.%s is not in terminal state, unable to restart."
    assert error_of(lambda: restart(server, workflow_id)) == failure(expected % "RUNNING", "ConflictException")
    pause(server, workflow_id)
    assert error_of(lambda: restart(server, workflow_id)) == failure(expected % "PAUSED", "ConflictException")


def test_restart_begins_with_new_tasks(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server)
    old = server.get(workflow_id).tasks[0]
    restart(server, workflow_id)
    task = server.take(task_type)
    assert task.task_id != old.task_id
    assert (task.seq, task.retry_count, task.retried_task_id, plain(task.input_data)) == (1, 0, "", {"k": "v"})
    assert statuses(server.get(workflow_id)) == ["IN_PROGRESS"]


def test_restart_makes_the_workflow_run_again(server: ServerUnderTest) -> None:
    """The names of what failed stay; nothing else tells of the run before."""
    task_type, workflow_id = failed(server)
    restart(server, workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion, workflow.end_time) == ("RUNNING", "", 0)
    assert (plain(workflow.input), plain(workflow.output)) == ({"k": "v"}, {})
    assert (workflow.correlation_id, workflow.priority, workflow.last_retried_time) == ("order 7", 5, 0)
    assert list(workflow.failed_reference_task_names) == ["only"]
    assert list(workflow.failed_task_names) == [task_type]


def test_restart_of_a_completed_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.complete(server.take(task_type), x="1")
    restart(server, workflow_id)
    server.complete(server.take(task_type), x="2")
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "2"})


def test_a_completed_workflow_may_forbid_restart(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type), restartable=False)
    workflow_id = server.start(name)
    server.complete(server.take(task_type))
    expected = failure(f"Workflow: {name}.1/{workflow_id}.COMPLETED is non-restartable", "NotFoundException")
    assert error_of(lambda: restart(server, workflow_id)) == expected


def test_a_failed_workflow_may_not_forbid_restart(server: ServerUnderTest) -> None:
    _, workflow_id = failed(server, restartable=False)
    restart(server, workflow_id)
    assert status(server.get(workflow_id)) == "RUNNING"


def test_restart_keeps_the_definition_the_workflow_was_started_with(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server)
    name = server.get(workflow_id).workflow_definition.name
    update_workflows(server, server.workflow_definition(simple(server.task_definition(), "changed"), name=name))
    restart(server, workflow_id)
    assert server.take(task_type).reference_task_name == "only"


def test_restart_takes_the_latest_definition_when_asked(server: ServerUnderTest) -> None:
    _, workflow_id = failed(server)
    name = server.get(workflow_id).workflow_definition.name
    create_workflow(
        server, server.workflow_definition(simple(server.task_definition(), "newest"), name=name, version=2)
    )
    restart(server, workflow_id, latest=True)
    workflow = server.get(workflow_id)
    assert (references(workflow), workflow.workflow_definition.version) == (["newest"], 2)


def test_the_latest_definition_stays_for_later_restarts(server: ServerUnderTest) -> None:
    _, workflow_id = failed(server)
    name = server.get(workflow_id).workflow_definition.name
    create_workflow(
        server, server.workflow_definition(simple(server.task_definition(), "newest"), name=name, version=2)
    )
    restart(server, workflow_id, latest=True)
    server.terminate(workflow_id)
    restart(server, workflow_id)
    assert references(server.get(workflow_id)) == ["newest"]


def test_restart_has_no_latest_definition_of_an_inline_one(server: ServerUnderTest) -> None:
    definition = server.workflow_definition(simple(server.task_definition(), "only"))
    workflow_id = server.start(definition.name, workflow_def=definition)
    server.terminate(workflow_id)
    expected = failure(f"Unable to find latest definition for {workflow_id}", "NotFoundException")
    assert error_of(lambda: restart(server, workflow_id, latest=True)) == expected
    restart(server, workflow_id)
    assert references(server.get(workflow_id)) == ["only"]


def test_restart_keeps_the_variables(server: ServerUnderTest) -> None:
    workflow_id = server.start(server.workflow(set_variable("set", a="1"), variables={"b": "2"}))
    restart(server, workflow_id)
    assert plain(server.get(workflow_id).variables) == {"a": "1", "b": "2"}


def test_restart_starts_another_child(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    child = server.workflow(simple(task_type))
    workflow_id = server.start(server.workflow(sub_workflow("sub", child)))
    first = server.take(task_type).workflow_instance_id
    server.terminate(workflow_id)
    restart(server, workflow_id)
    second = server.take(task_type).workflow_instance_id
    assert first != second
    assert server.get(second).parent_workflow_id == workflow_id
