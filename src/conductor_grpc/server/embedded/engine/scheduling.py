"""Which tasks come next, and putting them into the workflow and its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.server.embedded.engine.timeouts import SECOND
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_NO_DOMAIN = "NO_DOMAIN"


def tasks_for(engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int = 0) -> list[TaskRecord]:
    """The records with which a task of the definition begins; not yet in the workflow.

    None for a task that has been skipped beforehand: a branch, case or loop that begins with one begins with nothing.
    """
    skipped = workflow.by_reference(plan.reference_name)
    if skipped is not None and skipped.status is TaskStatus.SKIPPED:
        return []
    control = engine.controls.get(plan.type)
    if control is not None:
        return control.schedule(engine, workflow, plan, iteration)
    task = new_task(workflow, plan, iteration)
    task.domain = _domain(engine, workflow, task.task_type)
    return [task]


def first_tasks(engine: Engine, workflow: WorkflowRecord) -> list[TaskRecord]:
    """What a workflow begins with. Raises TerminateWorkflow for one without tasks: it is done."""
    if not workflow.plan.tasks:
        raise TerminateWorkflow("No tasks found to be executed", WorkflowStatus.COMPLETED)
    plan = _unless_skipped(workflow, workflow.plan.tasks[0])
    return [] if plan is None else tasks_for(engine, workflow, plan)


def tasks_after(engine: Engine, task: TaskRecord) -> list[TaskRecord]:
    """What follows a task that has ended; nothing where a branch of its own or an open loop goes on in its place."""
    if task.plan.type == "SWITCH" and "hasChildren" in task.input:
        return []
    workflow = task.workflow
    follower = _unless_skipped(workflow, workflow.plan.follower(task.plan.reference_name))
    if follower is None or follower.has(task.plan.reference_name):  # the loop that it is in turns by itself
        return []
    in_loop = workflow.plan.loop_around(follower.reference_name) is not None
    return tasks_for(engine, workflow, follower, task.iteration if in_loop else 0)


def _unless_skipped(workflow: WorkflowRecord, plan: TaskPlan | None) -> TaskPlan | None:
    while plan is not None:
        present = workflow.by_reference(plan.reference_name)
        if present is None or present.status is not TaskStatus.SKIPPED:
            return plan
        plan = workflow.plan.follower(plan.reference_name)
    return None


def enter(engine: Engine, workflow: WorkflowRecord, tasks: Iterable[TaskRecord]) -> list[TaskRecord]:
    """Puts new records into the workflow and its worker tasks into their queues; those that were new.

    A record whose reference name and attempt are there already is dropped: a JOIN is reached by every branch.
    """
    known = {(each.reference_name, each.retry_count) for each in workflow.tasks}
    entered = []
    for task in tasks:
        if (task.reference_name, task.retry_count) in known:
            continue
        known.add((task.reference_name, task.retry_count))
        _enter_one(engine, workflow, task)
        entered.append(task)
    return entered


def _enter_one(engine: Engine, workflow: WorkflowRecord, task: TaskRecord) -> None:
    now = engine.clock.now()
    task.seq = max((each.seq for each in workflow.tasks), default=0) + 1
    task.scheduled_time = now
    task.first_scheduled_time = task.first_scheduled_time or now
    workflow.tasks.append(task)
    engine.shelf.add_task(task)
    engine.limits.scheduled(task)
    if task.status is TaskStatus.SCHEDULED:
        offer(
            engine,
            task,
            now + max(task.start_delay_seconds, task.callback_after_seconds) * SECOND + task.extra_delay_ms,
        )
    else:
        task.update_time = now
    engine.touch(task)


def offer(engine: Engine, task: TaskRecord, deliver_at: int) -> None:
    """Makes a SCHEDULED worker task available to polls from this time on."""
    task.deliver_at = deliver_at
    if task.plan.type not in engine.controls:
        engine.queues.offer(task, deliver_at)


def _domain(engine: Engine, workflow: WorkflowRecord, task_type: str) -> str:
    """The domain of a new task: of a list the first that somebody has polled lately, else the last."""
    names = workflow.task_to_domain.get(task_type) or workflow.task_to_domain.get("*") or ""
    domains = [name.strip() for name in names.split(",") if name.strip()]
    if not domains:
        return ""
    chosen = next((name for name in domains if _is_active(engine, name, task_type)), domains[-1])
    return "" if chosen.upper() == _NO_DOMAIN else chosen


def _is_active(engine: Engine, domain: str, task_type: str) -> bool:
    if domain.upper() == _NO_DOMAIN:
        return engine.polls.active(task_type, engine.clock.now())
    return engine.polls.active(f"{domain}:{task_type}", engine.clock.now())
