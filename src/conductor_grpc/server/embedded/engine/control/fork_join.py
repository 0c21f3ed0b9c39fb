"""FORK_JOIN: the first tasks of all branches at once, and the JOIN after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import OutOfBoundsFailure, TerminateWorkflow
from conductor_grpc.server.embedded.engine.scheduling import tasks_for
from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class ForkJoin:
    """Stored as a task of type FORK that is COMPLETED from the start.

    One that a rerun names is SCHEDULED again and stays so, its branches gone: seen on 3.32.1.
    """

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        """Raises OutOfBoundsFailure for a branch without tasks, TerminateWorkflow if no JOIN follows."""
        fork = new_task(workflow, plan, iteration, status=TaskStatus.COMPLETED)
        fork.name = fork.task_type
        fork.start_time = fork.end_time = engine.clock.now()
        tasks = [fork]
        for branch in plan.branches.values():
            if not branch:
                raise OutOfBoundsFailure("Index 0 out of bounds for length 0")
            tasks.extend(tasks_for(engine, workflow, branch[0], iteration))
        join = workflow.plan.follower(plan.reference_name)
        if join is None or join.type != "JOIN":
            raise TerminateWorkflow(
                "Fork task definition is not followed by a join task.  Check the blueprint", WorkflowStatus.FAILED
            )
        tasks.extend(tasks_for(engine, workflow, join, iteration))
        return tasks

    def start(self, engine: Engine, task: TaskRecord) -> None:
        pass

    def execute(self, engine: Engine, task: TaskRecord) -> bool:  # noqa: ARG002 - open only after a rerun
        return False
