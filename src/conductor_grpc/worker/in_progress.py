"""The result of a worker that is not done yet and does not want to wait in its slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.payload.plain import to_plain
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.worker.task import Task


@dataclass(frozen=True)
class TaskInProgress:
    """What a worker returns for "not done yet: hand me this task out again later".

    Meanwhile the task takes no slot, here or elsewhere. It comes back as the same task, with the same id, attempt and
    idempotency key, and one more in `poll_count`; to this worker or to any other one of its type.

    Raises:
        WorkerDefinitionError: `callback_after_seconds` is no whole number of at least 1, or the output is no mapping.
    """

    callback_after_seconds: int
    """After how many seconds the server hands the task out again; at least 1, since with 0 it would do so at once."""
    output: Mapping[str, object] | None = None
    """What the task comes back with as `output_data`; a dataclass will do. It replaces what an earlier one has left,
    nothing is merged. None: it stays as it is."""

    def __post_init__(self) -> None:
        seconds: object = self.callback_after_seconds
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds < 2**31:
            raise WorkerDefinitionError(
                f"TaskInProgress got callback_after_seconds={seconds!r}, expected a whole number of seconds of at least"
                " 1: the server counts in seconds, and with 0 it would hand the task out again at once"
            )
        if self.output is not None and not isinstance(to_plain(self.output), dict):
            raise WorkerDefinitionError(
                f"TaskInProgress got output={self.output!r:.80}, expected a dict or a dataclass: its keys are those of"
                " the task's output_data"
            )

    def result(self, held: Task) -> TaskResult:
        """The same as a result of the task `held`; without an output that of the result is empty."""
        plain = {} if self.output is None else to_plain(self.output)
        assert isinstance(plain, dict)  # looked at above
        return TaskResult(
            workflow_instance_id=held.workflow_instance_id,
            task_id=held.task_id,
            status=TaskResultStatus.IN_PROGRESS,
            output_data=plain,
            callback_after_seconds=self.callback_after_seconds,
        )
