"""The embedded engine without gRPC: a test is its client, its workers and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedded_definitions import task_definition, workflow

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.server.embedded.clock import Clock
from conductor_grpc.server.embedded.engine.engine import Engine
from conductor_grpc.server.embedded.engine.memory_store import MemoryStore
from conductor_grpc.server.embedded.engine.polling import poll
from conductor_grpc.server.embedded.engine.starting import start_workflow
from conductor_grpc.server.embedded.engine.updates import update_task
from conductor_grpc.server.embedded.engine.values import fill_values

if TYPE_CHECKING:
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class DrivenEngine:
    """An engine whose definitions, executions and workers are one call each. Its time only goes on by itself."""

    def __init__(self, store: MemoryStore | None = None, *, strict: bool = False) -> None:
        self.clock = Clock()
        self.engine = Engine(self.clock, store or MemoryStore(), strict=strict)

    # -- definitions and executions --

    def define(self, *names: str, **fields: Any) -> None:
        """Task definitions with these fields, without retries unless they say otherwise."""
        with self.engine.transaction():
            self.engine.registry.put_task_definitions([task_definition(name, **fields) for name in names])

    def workflow(self, name: str, *tasks: WorkflowTask, **fields: Any) -> str:
        """Registers version 1, unless `version` says otherwise; the name."""
        with self.engine.transaction():
            definition = workflow(*tasks, **{"name": name, "restartable": True, **fields})
            self.engine.registry.update_workflows([definition])
        return name

    def start(self, name: str, given: dict[str, Any] | None = None, **fields: Any) -> WorkflowRecord:
        return start_workflow(self.engine, name, given or {}, **fields)

    def started(self, *tasks: WorkflowTask, given: dict[str, Any] | None = None, **fields: Any) -> WorkflowRecord:
        """An execution of a workflow of these tasks that is registered for it alone."""
        return self.start(self.workflow(f"flow {len(self.engine.shelf)}", *tasks, **fields), given)

    def child(self, task: TaskRecord) -> WorkflowRecord:
        """What a SUB_WORKFLOW task has started."""
        return self.engine.shelf.workflow(task.sub_workflow_id)

    # -- workers --

    def poll(self, name: str, count: int = 100) -> list[TaskRecord]:
        """All tasks of this type that are due now."""
        return poll(self.engine, name, "w", "", count, -1, lambda task: task, lambda: True)

    def take(self, name: str) -> TaskRecord:
        """The only task of this type that is due now."""
        (task,) = self.poll(name)
        return task

    def update(self, task: TaskRecord, status: str, output: dict[str, Any] | None = None, **fields: Any) -> None:
        result = TaskResult(
            workflow_instance_id=task.workflow.workflow_id,
            task_id=task.task_id,
            status=TaskResult.Status.Value(status),
            worker_id="w",
            **fields,
        )
        fill_values(result.output_data, output or {}, strict=False)
        update_task(self.engine, result)

    def complete(self, task: TaskRecord, **output: Any) -> None:
        self.update(task, "COMPLETED", output)

    def fail(self, task: TaskRecord, reason: str = "bad") -> None:
        self.update(task, "FAILED", reason_for_incompletion=reason)

    def work(self, name: str, **output: Any) -> TaskRecord:
        """Takes the only task of this type and completes it."""
        task = self.take(name)
        self.complete(task, **output)
        return task

    # -- time --

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


def states(workflow: WorkflowRecord) -> dict[str, str]:
    """The status of the latest attempt by reference name, in the order of the tasks."""
    return {task.reference_name: task.status.value for task in workflow.tasks}


def named(workflow: WorkflowRecord, reference_name: str) -> TaskRecord:
    """The latest attempt."""
    found = workflow.by_reference(reference_name)
    assert found is not None, f"no {reference_name} in {states(workflow)}"
    return found
