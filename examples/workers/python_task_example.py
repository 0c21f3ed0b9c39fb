"""A worker as a class: the whole task comes in, a result that you fill goes out."""

from __future__ import annotations

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface


class SimplePythonWorker(WorkerInterface):
    """Answers each task with the same output."""

    def execute(self, task: Task) -> TaskResult:
        task_result = self.get_task_result_from_task(task)
        task_result.add_output_data("key", "value")
        task_result.status = TaskResultStatus.COMPLETED
        return task_result
