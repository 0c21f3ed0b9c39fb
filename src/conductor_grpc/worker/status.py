"""The states of a task, and the ones a worker may report.

Members are strings with the names the server uses, so that they compare equal to what REST, the UI and a
user's configuration call them; the numbers of the wire are kept apart from them.
"""

from __future__ import annotations

import enum


class TaskStatus(str, enum.Enum):
    """The state of a task on the server (`conductor.proto.Task.Status`). A polled task is IN_PROGRESS."""

    IN_PROGRESS = "IN_PROGRESS"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    FAILED_WITH_TERMINAL_ERROR = "FAILED_WITH_TERMINAL_ERROR"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    SCHEDULED = "SCHEDULED"
    TIMED_OUT = "TIMED_OUT"
    SKIPPED = "SKIPPED"

    def __str__(self) -> str:
        return self.value

    @property
    def is_terminal(self) -> bool:
        """True if the server takes no further update of such a task: it answers OK and changes nothing."""
        return self not in (TaskStatus.IN_PROGRESS, TaskStatus.SCHEDULED)


class TaskResultStatus(str, enum.Enum):
    """What a worker reports about its task (`conductor.proto.TaskResult.Status`)."""

    IN_PROGRESS = "IN_PROGRESS"
    """Not done: the server hands the same task out again after `callback_after_seconds`."""

    FAILED = "FAILED"
    """Failed; the server tries again as often as the task definition's retryCount says."""

    FAILED_WITH_TERMINAL_ERROR = "FAILED_WITH_TERMINAL_ERROR"
    """Failed for good: no retry, the workflow fails (unless the task is optional)."""

    COMPLETED = "COMPLETED"
    """Done."""

    CANCELED = "CANCELED"
    """No retry, the workflow is terminated. Servers before 3.32.0 answer it with an error."""

    def __str__(self) -> str:
        return self.value


# In the order of the numbers on the wire, from 0.
TASK_STATUSES = tuple(TaskStatus)
TASK_RESULT_STATUS_NUMBERS = {status: number for number, status in enumerate(TaskResultStatus)}
