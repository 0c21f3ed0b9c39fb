"""Workflows that had ended go on: retry, restart and rerun, which for a sub-workflow concern its parents as well.

What each of them keeps and what it resets was seen on the released server, 3.32.1, field by field. All three keep the
workflow's id, and the end time and output of its earlier run until it ends again; a restart resets those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import ConflictFailure, IllegalArgumentFailure, NotFoundFailure
from conductor_grpc.server.embedded.engine.records import TaskLog
from conductor_grpc.server.embedded.engine.scheduling import enter, offer
from conductor_grpc.server.embedded.engine.tasks import new_attempt
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord, WorkflowRecord

_GOES_ON = frozenset({"JOIN", "DO_WHILE"})
"""Types whose task goes on where it was; there is never another attempt at it."""


# -- retry --


def retry(engine: Engine, workflow_id: str, resume_subworkflow_tasks: bool) -> None:
    """New attempts at whatever has not succeeded, whether or not retries are left and without any delay.

    :param resume_subworkflow_tasks: retry the sub-workflow that has failed, and not start it anew.
    :raises NotFoundFailure: there is no such workflow, or it has not ended (the released server's choice).
    :raises ConflictFailure: there is nothing to retry.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.is_open:
            raise NotFoundFailure(f"Workflow is still running.  status={workflow.status.value}")
        if not workflow.tasks:
            raise ConflictFailure("Workflow has not started yet")
        if resume_subworkflow_tasks:
            if not any(map(_is_unsuccessful, workflow.tasks)):
                return
            workflow = _innermost(engine, workflow)
        _retry(engine, workflow)
        _revive_parents(engine, workflow, "retried")


def _innermost(engine: Engine, workflow: WorkflowRecord) -> WorkflowRecord:
    """The sub-workflow, at any depth, whose failure has made this one fail; itself if there is none."""
    while True:
        failed = next(task for task in workflow.tasks if _is_unsuccessful(task))
        if failed.plan.type != "SUB_WORKFLOW":
            return workflow
        child = _child(engine, failed)
        if not any(map(_is_unsuccessful, child.tasks)):
            return workflow
        workflow = child


def _retry(engine: Engine, workflow: WorkflowRecord) -> None:
    latest = {task.reference_name: task for task in workflow.tasks}
    failed = [task for task in latest.values() if task.has_failed]
    cancelled = [each for each in failed if each.plan.type in _GOES_ON and each.status is TaskStatus.CANCELED]
    if len(failed) == len(cancelled) and workflow.status is not WorkflowStatus.TIMED_OUT:
        raise ConflictFailure(
            "There are no retryable tasks! Use restart if you want to attempt entire workflow execution again."
        )
    _reopen(engine, workflow)
    workflow.last_retried_time = engine.clock.now()
    for task in sorted(failed, key=lambda each: each.seq):
        if task.plan.type in _GOES_ON:
            _go_on(engine, task)
        else:
            _attempt_again(engine, task)


def _attempt_again(engine: Engine, task: TaskRecord) -> None:
    attempt = new_attempt(task)
    attempt.retry_count = task.retry_count + 1
    attempt.retried_task_id = task.task_id
    attempt.start_delay_seconds = 0
    task.retried = task.executed = True
    engine.touch(task)
    enter(engine, task.workflow, [attempt])


def _go_on(engine: Engine, task: TaskRecord) -> None:
    if task.status is not TaskStatus.CANCELED:
        task.retry_count += 1
        task.scheduled_time = engine.clock.now()
    task.status = TaskStatus.IN_PROGRESS
    task.update_time = engine.clock.now()
    engine.touch(task)


# -- restart --


def restart(engine: Engine, workflow_id: str, use_latest_definitions: bool) -> None:
    """From the very beginning, with the same input and the variables as they are.

    :param use_latest_definitions: take the latest version of the workflow definition from now on.
    :raises ConflictFailure: it has not ended.
    :raises NotFoundFailure: there is no such workflow or no definition any more, or the workflow is COMPLETED and not
        restartable.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        _require_ended(workflow, "restart")
        plan = workflow.plan
        if use_latest_definitions:
            definition = engine.registry.workflow_definition(workflow.name)
            if definition is None:
                raise NotFoundFailure(f"Unable to find latest definition for {workflow_id}")
            plan = engine.registry.plan(definition)
        if workflow.status is WorkflowStatus.COMPLETED and not plan.definition.restartable:
            raise NotFoundFailure(f"Workflow: {_long_name(workflow)} is non-restartable")
        for task in list(workflow.tasks):
            engine.forget(task)
        workflow.plan = plan
        workflow.create_time = engine.clock.now()
        workflow.end_time = workflow.last_retried_time = 0
        workflow.output = {}
        workflow.external_output_path = ""
        _reopen(engine, workflow)
        _revive_parents(engine, workflow, "restarted")


# -- rerun --


def rerun(engine: Engine, request: RerunWorkflowRequest) -> str:
    """From one of its tasks on, or from one of a sub-workflow's; the workflow's id.

    The input of the workflow and of the task, and the correlation id, become what the request says, nothing included:
    over gRPC they cannot be left out.

    :raises NotFoundFailure: there is no such workflow.
    :raises ConflictFailure: it, or a sub-workflow of it that is searched for the task, has not ended.
    :raises IllegalArgumentFailure: there is no such task in it.
    """
    task_id = request.re_run_from_task_id
    with engine.transaction():
        workflow = engine.shelf.workflow(request.re_run_from_workflow_id)
        if not _rerun(engine, workflow, task_id, from_values(request.task_input)):
            raise IllegalArgumentFailure(f"Task {task_id} not found")
        workflow.input = from_values(request.workflow_input)
        engine.shelf.correlate(workflow, request.correlation_id)
    return workflow.workflow_id


def _rerun(engine: Engine, workflow: WorkflowRecord, task_id: str, task_input: Payload) -> bool:
    """False if the task is not in it, and nothing has changed."""
    _require_ended(workflow, "rerun")
    task = next((each for each in workflow.tasks if each.task_id == task_id), None)
    if task is not None:
        _rewind(engine, workflow, task)
        if task.plan.type != "SUB_WORKFLOW":  # that one keeps its input, and gets a new child
            task.input = task_input
        task.output = {}
        task.sub_workflow_id = ""
        _schedule_again(engine, task)
        _revive_parents(engine, workflow, "reran")
        return True
    for each in list(workflow.tasks):
        if each.plan.type == "SUB_WORKFLOW" and _rerun(engine, _child(engine, each), task_id, task_input):
            _rewind(engine, workflow, each)
            each.status = TaskStatus.IN_PROGRESS
            each.scheduled_time = each.start_time = each.update_time = engine.clock.now()
            return True
    return False


def _rewind(engine: Engine, workflow: WorkflowRecord, task: TaskRecord) -> None:
    """Takes the workflow back to when this task began: what was scheduled later is gone, what was open then is open."""
    now = engine.clock.now()
    for each in list(workflow.tasks):
        if each.seq > task.seq:
            engine.forget(each)
        elif each is not task and _is_to_blame(each):
            _take_up(engine, each)
            each.start_time = now
    _reopen(engine, workflow)
    workflow.failed_reference_names, workflow.failed_task_names = [], []
    task.scheduled_time = now
    task.start_time = task.end_time = task.poll_count = 0
    task.update_time = now
    task.executed = task.retried = False


# -- what they have in common --


def _reopen(engine: Engine, workflow: WorkflowRecord) -> None:
    if not workflow.is_open:
        engine.shelf.reopened(workflow)
    workflow.status = WorkflowStatus.RUNNING
    workflow.reason = ""
    engine.touch(workflow)
    engine.decide_soon(workflow)


def _revive_parents(engine: Engine, workflow: WorkflowRecord, what: str) -> None:
    """The workflows that wait for this one, at any depth, are RUNNING again, and so are their other branches.

    An optional sub-workflow's end was of no consequence, and neither is its revival; nor that of one whose place
    another attempt has taken.
    """
    lineage = ""
    while True:
        task = engine.shelf.find_task(workflow.parent_workflow_task_id)
        if task is None or task.retried or task.plan.proto.optional:
            return
        now = engine.clock.now()
        lineage = f"{_short_name(workflow)} -> {lineage}" if lineage else _short_name(workflow)
        task.logs.append(TaskLog(f"Sub workflow {lineage} {what}.", now))
        task.status = TaskStatus.IN_PROGRESS
        task.reason = ""
        task.update_time = now
        engine.touch(task)
        workflow = task.workflow
        _reopen(engine, workflow)
        workflow.failed_reference_names, workflow.failed_task_names = [], []
        workflow.last_retried_time = now
        for each in workflow.tasks:
            if _is_to_blame(each):
                _take_up(engine, each)
                each.retry_count += each.plan.type not in _GOES_ON


def _take_up(engine: Engine, task: TaskRecord) -> None:
    """An ended task is open again, in its place. A sub-workflow is started anew.

    (After the retry of another branch's sub-workflow the released server lets a cancelled one wait for the child that
    was terminated with it.)
    """
    if task.plan.type in _GOES_ON:
        _go_on(engine, task)
        return
    task.reason = ""
    task.start_time = task.end_time = 0
    task.sub_workflow_id = ""
    task.update_time = engine.clock.now()
    _schedule_again(engine, task)


def _schedule_again(engine: Engine, task: TaskRecord) -> None:
    task.status = TaskStatus.SCHEDULED
    task.callback_after_seconds = 0
    engine.limits.scheduled(task)
    offer(engine, task, engine.clock.now())
    engine.touch(task)


def _is_unsuccessful(task: TaskRecord) -> bool:
    return task.has_failed and not task.retried


def _is_to_blame(task: TaskRecord) -> bool:
    """It would end the workflow again; a permissive one, over which the workflow has gone on, would not."""
    return _is_unsuccessful(task) and not task.executed


def _child(engine: Engine, task: TaskRecord) -> WorkflowRecord:
    """Raises NotFoundFailure if it is gone or was never started; then the released server looks for `null`."""
    return engine.shelf.workflow(task.sub_workflow_id or "null")


def _require_ended(workflow: WorkflowRecord, what: str) -> None:
    if workflow.is_open:
        raise ConflictFailure(f"Workflow: {_long_name(workflow)} is not in terminal state, unable to {what}.")


def _short_name(workflow: WorkflowRecord) -> str:
    return f"{workflow.name}.{workflow.version}/{workflow.workflow_id}"


def _long_name(workflow: WorkflowRecord) -> str:
    return f"{_short_name(workflow)}.{workflow.status.value}"
