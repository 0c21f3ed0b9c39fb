"""SUB_WORKFLOW in the embedded engine: what the contract cases do not show, and time, which is moved on here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driven_engine import DrivenEngine, named, states
from embedded_definitions import fork, task, wait, workflow

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.definitions import workflow_definition_to_json
from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.server.embedded.engine import operations
from conductor_grpc.server.embedded.engine.failures import ConflictFailure, NotFoundFailure, UnmappableValue
from conductor_grpc.server.embedded.services.protos import task_wire
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
    from conductor_grpc.server.embedded.engine.records import WorkflowRecord

STEP = task("step", name="step", retry_count=-1)
LAST = task("last", name="last")


def sub(child: str, reference: str = "u", **fields: Any) -> WorkflowTask:
    """With an input parameter, as most have: without one the child gets the input of the task as a whole."""
    params = SubWorkflowParams(name=child, version=fields.pop("version", 1))
    fields = {"inputs": {"k": "v"}, "name": "sub", "retry_count": -1, **fields}
    return task(reference, "SUB_WORKFLOW", sub_workflow_param=params, **fields)


@pytest.fixture
def engine() -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", "last", "other")
    engine.workflow("child", STEP, output={"res": "${step.output.o}"})
    return engine


# -- the child --


def test_what_a_child_inherits(engine: DrivenEngine) -> None:
    engine.workflow("parent", sub("child"))
    parent = engine.start("parent", {"in": 1.0}, correlation_id="order 7", priority=5, task_to_domain={"*": "eu"})
    its = named(parent, "u")
    child = engine.child(its)
    assert (child.parent_workflow_id, child.parent_workflow_task_id) == (parent.workflow_id, its.task_id)
    assert (child.correlation_id, child.priority, child.task_to_domain, child.input) == ("order 7", 0, {}, {"k": "v"})
    assert (its.status.value, its.output) == ("IN_PROGRESS", {"subWorkflowId": child.workflow_id})


def test_the_input_of_the_task_is_what_the_child_is_started_with(engine: DrivenEngine) -> None:
    parent = engine.started(sub("${workflow.input.name}", inputs={}), given={"name": "child"})
    assert named(parent, "u").input == {
        "subWorkflowName": "child",
        "subWorkflowVersion": 1,
        "subWorkflowDefinition": None,
        "subWorkflowTaskToDomain": {},
        "workflowInput": {},
        "priority": None,
        "idempotencyKey": None,
        "idempotencyStrategy": None,
    }
    assert engine.child(named(parent, "u")).input == named(parent, "u").input


def test_its_version_is_an_integer_that_strict_mode_cannot_send(engine: DrivenEngine) -> None:
    its = named(engine.started(sub("child")), "u")
    with pytest.raises(UnmappableValue, match="cannot map to Value type: 1"):
        task_wire(its, strict=True)
    assert task_wire(its, strict=False)


def test_a_child_starts_after_the_delay(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child", start_delay=20))
    engine.pass_time(19)
    assert (states(parent), engine.poll("step")) == ({"u": "SCHEDULED"}, [])
    engine.pass_time(1)
    engine.work("step", o=1)
    assert (parent.status, parent.output["res"]) == (WorkflowStatus.COMPLETED, 1.0)


def test_a_task_definition_gives_it_retries(engine: DrivenEngine) -> None:
    engine.define("sub", retry_count=1, retry_delay_seconds=30)
    parent = engine.started(sub("child"))
    first = engine.take("step")
    engine.fail(first)
    engine.pass_time(29)
    assert [each.status.value for each in parent.tasks] == ["FAILED", "SCHEDULED"]
    engine.pass_time(1)
    second = engine.take("step")
    assert second.workflow is not first.workflow
    assert second.workflow.input == {"k": "v"}
    engine.fail(second)
    assert parent.status is WorkflowStatus.FAILED


@pytest.mark.parametrize(("version", "shown"), [(0, "null"), (7, "7")])
def test_an_unknown_child_fails_the_task(engine: DrivenEngine, version: int, shown: str) -> None:
    parent = engine.started(sub("nobody", version=version))
    its = named(parent, "u")
    assert (its.status.value, its.output) == ("FAILED", {})
    assert its.reason == f"No such workflow defined. name=nobody, version={shown}"
    assert parent.status is WorkflowStatus.FAILED


def by_definition(engine: DrivenEngine, definition: Any) -> WorkflowRecord:
    its = sub("inline")
    its.sub_workflow_param.workflow_definition.string_value = "${workflow.input.definition}"
    return engine.started(its, given={"definition": definition})


def test_a_definition_may_come_with_the_input(engine: DrivenEngine) -> None:
    inline = workflow(STEP, name="inline", version=3, output={"from": "inline"})
    parent = by_definition(engine, {**workflow_definition_to_json(inline), "version": 3.0})
    child = engine.child(named(parent, "u"))
    assert (child.name, child.version) == ("inline", 3)
    assert named(parent, "u").input["subWorkflowVersion"] is None
    engine.work("step")
    assert named(parent, "u").output["from"] == "inline"


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"name": "inline"}, "tasks"),
        ("none", "not JSON"),
        (
            {"name": "inline", "tasks": [{"name": "h", "taskReferenceName": "h", "type": "HTTP"}]},
            "does not run tasks of type HTTP",
        ),
    ],
)
def test_what_is_no_definition_fails_the_task(engine: DrivenEngine, definition: Any, reason: str) -> None:
    its = named(by_definition(engine, definition), "u")
    assert its.status is TaskStatus.FAILED
    assert reason in its.reason


# -- how they end --


def test_a_child_that_times_out_times_out_the_parent(engine: DrivenEngine) -> None:
    engine.workflow("slow", STEP, timeout_seconds=60, timeout_policy=WorkflowDef.TIME_OUT_WF)
    parent = engine.started(sub("slow"))
    child = engine.child(named(parent, "u"))
    engine.pass_time(60)
    assert (child.status, parent.status) == (WorkflowStatus.TIMED_OUT, WorkflowStatus.TIMED_OUT)
    assert named(parent, "u").status is TaskStatus.TIMED_OUT
    why = f"Sub workflow slow.1/{child.workflow_id} failure reason: {child.reason}"
    assert parent.reason == f"Task {named(parent, 'u').task_id} failed with status: TIMED_OUT and reason: '{why}'"


def test_a_parent_that_times_out_terminates_the_child(engine: DrivenEngine) -> None:
    engine.workflow("rescue", LAST)
    engine.workflow("child", STEP, failure_workflow="rescue", failure_workflow_version=1)
    parent = engine.started(sub("child"), timeout_seconds=60, timeout_policy=WorkflowDef.TIME_OUT_WF)
    child = engine.child(named(parent, "u"))
    engine.pass_time(60)
    assert (child.status, states(child)) == (WorkflowStatus.TERMINATED, {"step": "CANCELED"})
    assert child.reason == f"Parent workflow has been terminated with reason: {parent.reason}"
    assert (named(parent, "u").status, named(parent, "u").reason) == (TaskStatus.CANCELED, "")
    assert engine.poll("last") == []


def test_a_task_that_somebody_else_completes_has_no_child_any_more(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child"), LAST)
    its = named(parent, "u")
    engine.complete(its, mine=True)
    engine.fail(engine.take("step"))
    assert (its.status, its.output) == (TaskStatus.COMPLETED, {"mine": True})
    engine.work("last")
    assert parent.status is WorkflowStatus.COMPLETED


def test_terminating_a_failed_child_shows_in_its_parent(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child"))
    child = engine.take("step").workflow
    engine.fail(child.tasks[0])
    operations.terminate(engine.engine, child.workflow_id, "given up")
    its = named(parent, "u")
    assert (its.status, parent.status) == (TaskStatus.CANCELED, WorkflowStatus.FAILED)
    assert its.reason == f"Sub workflow child.1/{child.workflow_id} failure reason: given up"


# -- how they go on --


def test_three_levels_go_on_together(engine: DrivenEngine) -> None:
    engine.workflow("middle", sub("child", reference="m"))
    top = engine.started(sub("middle"), LAST)
    middle = engine.child(named(top, "u"))
    leaf = engine.child(named(middle, "m"))
    engine.fail(engine.take("step"))
    ended = top.end_time
    engine.pass_time(5)
    operations.retry(engine.engine, top.workflow_id, resume_subworkflow_tasks=True)
    for each in (top, middle, leaf):
        assert (each.status, each.reason) == (WorkflowStatus.RUNNING, "")
        assert each.last_retried_time >= ended + 5000
    assert (top.end_time, top.failed_reference_names, top.failed_task_names) == (ended, [], [])
    lower = f"child.1/{leaf.workflow_id}"
    assert [line.text for line in named(middle, "m").logs] == [f"Sub workflow {lower} retried."]
    assert [line.text for line in named(top, "u").logs] == [
        f"Sub workflow middle.1/{middle.workflow_id} -> {lower} retried."
    ]
    engine.work("step", o=1)
    engine.work("last")
    assert (top.status, named(top, "u").output["subWorkflowId"]) == (WorkflowStatus.COMPLETED, middle.workflow_id)


def test_the_other_branches_go_on_with_it(engine: DrivenEngine) -> None:
    engine.workflow("sibling", task("s", name="other"))
    branches = fork(
        [sub("child")], [task("a", name="last")], [task("h", "HUMAN")], [sub("sibling", "v")], [wait(duration="1 min")]
    )
    parent = engine.started(branches, task("j", "JOIN", join_on=["u", "a", "h", "v", "w"]))
    cancelled, sibling = named(parent, "a"), engine.child(named(parent, "v"))
    engine.fail(engine.take("step"))
    assert set(states(parent).values()) == {"COMPLETED", "FAILED", "CANCELED"}
    assert sibling.status is WorkflowStatus.TERMINATED
    operations.retry(engine.engine, engine.child(named(parent, "u")).workflow_id, resume_subworkflow_tasks=False)
    assert states(parent) == {
        "f": "COMPLETED",
        "u": "IN_PROGRESS",
        "a": "SCHEDULED",
        "h": "IN_PROGRESS",
        "v": "IN_PROGRESS",
        "w": "IN_PROGRESS",
        "j": "IN_PROGRESS",
    }
    assert (named(parent, "a") is cancelled, cancelled.retry_count, len(parent.tasks)) == (True, 1, 7)
    assert engine.child(named(parent, "v")) is not sibling
    engine.work("step")
    engine.work("last")
    engine.work("other")
    engine.complete(named(parent, "h"))
    engine.pass_time(60)
    assert parent.status is WorkflowStatus.COMPLETED


def test_a_child_whose_place_was_taken_goes_on_alone(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child"))
    old = engine.take("step")
    engine.fail(old)
    operations.retry(engine.engine, parent.workflow_id, resume_subworkflow_tasks=False)
    retried = parent.last_retried_time
    first, second = parent.tasks
    assert (first.retried, second.retried_task_id) == (True, first.task_id)
    engine.pass_time(1)
    operations.retry(engine.engine, old.workflow.workflow_id, resume_subworkflow_tasks=False)
    assert (first.status, parent.last_retried_time) == (TaskStatus.FAILED, retried)
    mine = {each.workflow.workflow_id: each for each in engine.poll("step")}
    engine.complete(mine[first.sub_workflow_id])
    assert (parent.status, second.status) == (WorkflowStatus.RUNNING, TaskStatus.IN_PROGRESS)
    engine.complete(mine[second.sub_workflow_id])
    assert parent.status is WorkflowStatus.COMPLETED


def test_an_optional_one_leaves_its_parent_alone(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child", optional=True), LAST)
    child = engine.take("step").workflow
    engine.fail(child.tasks[0])
    assert states(parent) == {"u": "COMPLETED_WITH_ERRORS", "last": "SCHEDULED"}
    operations.restart(engine.engine, child.workflow_id, use_latest_definitions=False)
    assert states(parent) == {"u": "COMPLETED_WITH_ERRORS", "last": "SCHEDULED"}
    assert child.status is WorkflowStatus.RUNNING


def test_a_completed_child_that_is_restarted_completes_its_parent_again(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child"), LAST)
    child = engine.work("step", o=1).workflow
    engine.work("last")
    operations.restart(engine.engine, child.workflow_id, use_latest_definitions=False)
    assert (parent.status, states(parent)) == (WorkflowStatus.RUNNING, {"u": "IN_PROGRESS", "last": "COMPLETED"})
    engine.work("step", o=2)
    assert (parent.status, named(parent, "u").output["res"]) == (WorkflowStatus.COMPLETED, 2.0)
    assert engine.poll("last") == []


def rerun(engine: DrivenEngine, workflow_id: str, task_id: str) -> None:
    request = RerunWorkflowRequest(re_run_from_workflow_id=workflow_id, re_run_from_task_id=task_id)
    operations.rerun(engine.engine, request)


def test_a_rerun_finds_the_task_of_a_child(engine: DrivenEngine) -> None:
    parent = engine.started(sub("child"), LAST)
    step = engine.work("step", o=1)
    engine.fail(engine.take("last"))
    rerun(engine, parent.workflow_id, step.task_id)
    assert (states(parent), states(step.workflow)) == ({"u": "IN_PROGRESS"}, {"step": "SCHEDULED"})
    engine.work("step", o=2)
    assert states(parent) == {"u": "COMPLETED", "last": "SCHEDULED"}
    assert named(parent, "u").output["res"] == 2.0


def test_a_rerun_cannot_look_into_what_runs_or_was_never_started(engine: DrivenEngine) -> None:
    optional = engine.started(sub("child", optional=True))
    child = engine.take("step").workflow
    engine.fail(child.tasks[0])
    operations.restart(engine.engine, child.workflow_id, use_latest_definitions=False)
    with pytest.raises(ConflictFailure, match=r"Workflow: child\.1/.*\.RUNNING is not in terminal state"):
        rerun(engine, optional.workflow_id, "nobody")
    unknown = engine.started(sub("nobody"))
    with pytest.raises(NotFoundFailure, match="No such workflow found by id: null"):
        rerun(engine, unknown.workflow_id, "nobody")
