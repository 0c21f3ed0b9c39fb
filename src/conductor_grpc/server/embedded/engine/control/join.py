"""JOIN: waits for the tasks it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.base import SingleTask, end
from conductor_grpc.server.embedded.engine.records import SUCCESSFUL
from conductor_grpc.server.embedded.engine.tasks import loop_reference
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Join(SingleTask):
    """Its output: the output of each task that has one, under its reference name."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        (task,) = super().schedule(engine, workflow, plan, iteration)
        task.input = {"joinOn": list(plan.proto.join_on)}
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        names = task.input.get("joinOn")
        if not isinstance(names, list):  # a rerun has wiped it, and there is nothing to wait for
            return False
        latest = {each.reference_name: each for each in task.workflow.tasks}
        forked = [latest.get(loop_reference(name, task.iteration)) for name in names]
        present = [each for each in forked if each is not None]
        everything_ended = len(present) == len(forked) and not any(each.is_open for each in present)
        failed = [each for each in present if each.has_failed and _counts(each, everything_ended=everything_ended)]
        if not everything_ended and not failed:
            return False
        task.output = {each.reference_name: each.output for each in present if each.output}
        self._close(engine, task, present, failed)
        return True

    def _close(self, engine: Engine, task: TaskRecord, present: list[TaskRecord], failed: list[TaskRecord]) -> None:
        with_errors = [each for each in present if each.status is TaskStatus.COMPLETED_WITH_ERRORS]
        if failed:
            end(engine, task, TaskStatus.FAILED, " ".join(each.reason for each in failed))
        elif with_errors:
            end(
                engine,
                task,
                TaskStatus.COMPLETED_WITH_ERRORS,
                " ".join(f"{each.name}/{each.task_id} completed with errors" for each in with_errors),
            )
        else:
            end(engine, task)


def _counts(task: TaskRecord, *, everything_ended: bool) -> bool:
    """An optional task's failure is none; a permissive one's counts once all the others have ended."""
    proto = task.plan.proto
    return not proto.optional and (everything_ended or not proto.permissive) and task.status not in SUCCESSFUL
