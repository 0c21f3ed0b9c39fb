"""JOIN: waits for the tasks it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.records import SUCCESSFUL
from conductor_grpc.server.embedded.engine.tasks import loop_reference, new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Join:
    """Its output: the output of each task that has one, under its reference name."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.input = {"joinOn": list(plan.proto.join_on)}
        task.start_time = engine.clock.now()
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        awaited = [loop_reference(name, task.iteration) for name in task.input["joinOn"]]
        forked = [task.workflow.by_reference(name) for name in awaited]
        present = [each for each in forked if each is not None]
        everything_ended = len(present) == len(forked) and not any(each.is_open for each in present)
        failed = [each for each in present if each.has_failed and _counts(each, everything_ended=everything_ended)]
        if not everything_ended and not failed:
            return False
        task.output = {each.reference_name: each.output for each in present if each.output}
        self._close(task, present, failed)
        task.end_time = engine.clock.now()
        engine.touch(task)
        return True

    def _close(self, task: TaskRecord, present: list[TaskRecord], failed: list[TaskRecord]) -> None:
        if failed:
            task.status = TaskStatus.FAILED
            task.reason = " ".join(each.reason for each in failed)
            return
        with_errors = [each for each in present if each.status is TaskStatus.COMPLETED_WITH_ERRORS]
        task.status = TaskStatus.COMPLETED_WITH_ERRORS if with_errors else TaskStatus.COMPLETED
        if with_errors:
            task.reason = " ".join(each.reason for each in with_errors)


def _counts(task: TaskRecord, *, everything_ended: bool) -> bool:
    """An optional task's failure is none; a permissive one's counts once all the others have ended."""
    proto = task.plan.proto
    return not proto.optional and (everything_ended or not proto.permissive) and task.status not in SUCCESSFUL
