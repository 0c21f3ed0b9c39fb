"""What a worker hands back, and the request that carries it to the server."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Literal

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload import Layout
from conductor_grpc.worker.status import TASK_RESULT_STATUS_NUMBERS, TaskResultStatus
from conductor_grpc.worker.text import bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UPDATE_BYTES: Final = 4 * 1024 * 1024
"""The server refuses a longer request, and the task would stay IN_PROGRESS until its timeout."""

MAX_LOGS_PER_UPDATE: Final = 10
"""The server keeps this many logs of one update and drops the rest with a warning (3.32.1, its default)."""

MAX_LOG_BYTES: Final = 64 * 1024
"""Longest log entry sent, in bytes of UTF-8: ten of them leave most of the server's 4 MiB to the output."""

MAX_REASON_BYTES: Final = 4 * 1024
"""Longest reason sent, in bytes of UTF-8: the server copies it into the workflow, events and its index."""

_RESULT: Final = Layout(
    [
        (1, "string"),  # workflow_instance_id
        (2, "string"),  # task_id
        (3, "string"),  # reason_for_incompletion
        (4, "int"),  # callback_after_seconds
        (5, "string"),  # worker_id
        (6, "int"),  # status
        (7, "value_map"),  # output_data
        (10, "messages"),  # logs
        (11, "string"),  # external_output_payload_storage_path
        (12, "string"),  # sub_workflow_id
    ]
)
_LOG: Final = Layout([(1, "string"), (2, "string"), (3, "int")])
_REQUEST: Final = Layout([(1, "bytes")])


@dataclass(slots=True)
class TaskLog:
    """One line in the log of a task, as the server's UI shows it."""

    log: str
    created_time: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    """Milliseconds since the epoch. Set here since the server stores an unset time as 1970."""


@dataclass(slots=True)
class TaskResult:
    """The outcome of one task.

    A result has no status until the worker sets one: the wire's default would be IN_PROGRESS with no delay, a
    task that comes back for ever. Not to be shared between threads without a lock.
    """

    workflow_instance_id: str = ""
    task_id: str = ""
    status: TaskResultStatus | None = None
    output_data: dict[str, object] = field(default_factory=dict)
    """Replaces the output an earlier IN_PROGRESS result left; nothing is merged."""
    reason_for_incompletion: str = ""
    callback_after_seconds: int = 0
    """With IN_PROGRESS: after how many seconds the server hands the task out again; at least 1."""
    worker_id: str = ""
    """Which worker process ran the task. `run_worker` sets it."""
    external_output_payload_storage_path: str = ""
    """Where the output lies in the server's external storage; `output_data` is empty then. A poller sets it for an
    output that is too large, a worker for one that it has put there itself. The server must be 3.32.0 or newer."""
    logs: list[TaskLog] = field(default_factory=list)
    raised: str = field(default="", init=False, repr=False, compare=False)
    """The name of the exception's class where one has failed the task, for metrics. It is not sent."""

    def add_output_data(self, key: str, value: object) -> None:
        """Sets one key of the output. Whether the value can be sent is found out when the worker is done."""
        self.output_data[key] = value

    def log(self, message: str) -> None:
        """Adds a line to the task's log, with the time of now. It is sent with the result, not at once."""
        self.logs.append(TaskLog(str(message)))

    def to_wire(self, big_integers: Literal["error", "string"] = "error") -> bytes:
        """A serialised UpdateTaskRequest for this result.

        All logs travel in the request itself. More than ten are joined into ten entries, each line with its
        own time, for the server drops the eleventh. (AddLog would take more, but stamps its own time on each,
        out of order with those sent here, and costs a call for each.) Logs are lost where an update is
        repeated after the server stored it but then failed; the reason is not, so it must be enough to go by.

        Args:
            big_integers: What to do with an int beyond 2**53, see `conductor_grpc.payload`.

        Raises:
            ValueError: No status was set.
            PayloadEncodeError: A value in the output has no JSON form; its `path` begins with `output`.
        """
        if self.status is None:
            raise ValueError(f"the result of task {self.task_id!r} has no status: set one of TaskResultStatus")
        values = (
            self.workflow_instance_id,
            self.task_id,
            bounded(self.reason_for_incompletion, MAX_REASON_BYTES),
            self.callback_after_seconds,
            self.worker_id,
            TASK_RESULT_STATUS_NUMBERS[self.status],
            self.output_data,
            [self._encode_log(entry) for entry in _join_to_limit(self.logs)],
            self.external_output_payload_storage_path,
            _sub_workflow_id(self.output_data),
        )
        try:
            return _REQUEST.encode((_RESULT.encode(values, big_integers),))
        except PayloadEncodeError as error:
            raise _located_in_output(error) from error.__cause__

    def _encode_log(self, entry: TaskLog) -> bytes:
        return _LOG.encode((bounded(entry.log, MAX_LOG_BYTES), self.task_id, entry.created_time))


def _join_to_limit(logs: Sequence[TaskLog]) -> Sequence[TaskLog]:
    count = len(logs)
    if count <= MAX_LOGS_PER_UPDATE:
        return logs
    bounds = [index * count // MAX_LOGS_PER_UPDATE for index in range(MAX_LOGS_PER_UPDATE + 1)]
    return [_joined(logs[start:end]) for start, end in itertools.pairwise(bounds)]


def _joined(group: Sequence[TaskLog]) -> TaskLog:
    if len(group) == 1:
        return group[0]
    return TaskLog("\n".join(f"{_clock(each.created_time)} {each.log}" for each in group), group[0].created_time)


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="milliseconds")


def _sub_workflow_id(output: dict[str, object]) -> str:
    # The server replaces an output key of this name by the result's own field, "" where that is unset (3.32.1).
    value = output.get("subWorkflowId", "")
    if value is None or isinstance(value, str):
        return value or ""
    raise PayloadEncodeError(
        f"is {value!r:.60}, and under this name the server keeps text only: send text, or use another key",
        "output.subWorkflowId",
    )


def _located_in_output(error: PayloadEncodeError) -> PayloadEncodeError:
    # The codec knows the keys of the map; the user knows it as the output.
    separator = "." if error.path and not error.path.startswith("[") else ""
    return PayloadEncodeError(str(error).removeprefix(f"{error.path}: "), f"output{separator}{error.path}")
