"""Which task a log record belongs to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from conductor_grpc.worker.context import running_task

if TYPE_CHECKING:
    from conductor_grpc.worker.task import Task

NAMES: Final = ("task_id", "workflow_id", "task_type", "worker_id")


class TaskLogFilter(logging.Filter):
    """Adds to each log record the task in which it was made: `task_id`, `workflow_id`, `task_type`, `worker_id` ("-"
    outside of tasks) and `in_task`, all of them as text to put behind a message ("" outside of tasks).

    Put it on handlers: a filter of a logger does not see the records of the loggers below it. It holds nothing back,
    and leaves attributes that a record has already. Thread-safe.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        attributes = vars(record)
        # What the program itself has put there stays, and is not mixed with the ids of another task.
        for name, value in _fields_here().items() if "task_id" not in attributes else ():
            attributes.setdefault(name, value)
        for name in (*NAMES, "in_task"):
            attributes.setdefault(name, "" if name == "in_task" else "-")
        return True


def task_fields(task: Task) -> dict[str, str]:
    """The same as `extra=` of a record about a task that was made elsewhere."""
    values = (task.task_id, task.workflow_instance_id, task.task_def_name, task.worker_id)
    return dict(zip(NAMES, values, strict=True))


def _fields_here() -> dict[str, str]:
    context = running_task()
    if context is None:
        return {}
    task = context.task
    return {**task_fields(task), "in_task": f" [task {task.task_id} of workflow {task.workflow_instance_id}]"}
