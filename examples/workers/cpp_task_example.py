"""A worker whose work is done in C++, by a function that the package's native module exports."""

from __future__ import annotations

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface, _core
from conductor_grpc.errors import InputError


class SimpleCppWorker(WorkerInterface):
    """Adds the inputs `a` and `b`, 1 and 2 where they are not given."""

    def execute(self, task: Task) -> TaskResult:
        task_result = self.get_task_result_from_task(task)
        task_result.add_output_data("sum", _core.get_sum(_integer(task, "a", 1), _integer(task, "b", 2)))
        task_result.status = TaskResultStatus.COMPLETED
        return task_result


def _integer(task: Task, name: str, default: int) -> int:
    value = task.input_data.get(name)
    if value is None:
        return default
    # get_sum takes int32_t and the native module refuses what does not fit; JSON does not tell 3.0 from 3.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise InputError(name, f"expected a whole number, got {value!r}")
    return int(value)
