"""A class, with the task in hand and a result to fill; one instance for each task type."""

from __future__ import annotations

from conductor_grpc import NonRetryableError, Task, TaskResult, TaskResultStatus, WorkerInterface


class Adder(WorkerInterface):
    """Adds a number of its own."""

    concurrency = 5

    def __init__(self, task_definition_name: str, number: int) -> None:
        super().__init__(task_definition_name)
        self.number = number

    def execute(self, task: Task) -> TaskResult:
        value = task.input_data.get("value")
        if not isinstance(value, (int, float)):
            raise NonRetryableError(f"value is {value!r}, expected a number")
        result = self.get_task_result_from_task(task)
        result.add_output_data("sum", value + self.number)
        result.log(f"added {self.number}")
        result.status = TaskResultStatus.COMPLETED
        return result


workers = [Adder("add_one", 1), Adder("add_ten", 10)]
