"""What surrounds a worker's own code, whichever way it is run: before it, after it, and when it fails."""

from __future__ import annotations

import dataclasses
import logging
from types import CoroutineType
from typing import TYPE_CHECKING, Final, Literal

from conductor_grpc.errors import InputError, NonRetryableError, PayloadEncodeError, WorkerDefinitionError
from conductor_grpc.worker.failure import reason_of, traceback_of
from conductor_grpc.worker.in_progress import TaskInProgress
from conductor_grpc.worker.kept_output import keep_output, wire_keeping_output
from conductor_grpc.worker.log_filter import task_fields
from conductor_grpc.worker.result import MAX_LOG_BYTES, MAX_REASON_BYTES, MAX_UPDATE_BYTES, TaskLog, TaskResult
from conductor_grpc.worker.status import TaskResultStatus
from conductor_grpc.worker.task import Task, without_payload
from conductor_grpc.worker.text import bounded

if TYPE_CHECKING:
    from conductor_grpc.worker.context import TaskContext
    from conductor_grpc.worker.external_payload import ExternalPayloads

logger = logging.getLogger(__name__)

_YEAR_9999: Final = 253_370_764_800_000
"""In milliseconds; Python has no later dates."""

_TERMINAL_ERRORS: Final = (InputError, NonRetryableError, PayloadEncodeError, WorkerDefinitionError)
"""The same task with the same worker fails in the same way again: retries would only delay the news."""

BigIntegers = Literal["error", "string"]


class Attempt:
    """One task and one worker. The steps are `prepare`, the worker's own code, `encode`, `complete`; whatever any of
    them raises goes to `fail`. One thread at a time."""

    __slots__ = (
        "_big_integers",
        "_blamed",
        "_context",
        "_external",
        "_held",
        "_logs",
        "_returned_logs",
        "_task",
        "_worker_id",
    )

    def __init__(
        self,
        task: Task | None,
        context: TaskContext,
        worker_id: str,
        big_integers: BigIntegers = "error",
        external: ExternalPayloads | None = None,
    ) -> None:
        self._task = task
        self._context = context
        # A worker may put anything into its task, so what must be right is remembered.
        self._held = without_payload(task or Task())
        self._worker_id = worker_id
        self._big_integers = big_integers
        self._external = external
        self._logs: list[TaskLog] | None = None  # all of them, once there is a result
        self._returned_logs: list[TaskLog] = []
        self._blamed: tuple[str, BaseException] | None = None

    @property
    def may_block(self) -> bool:
        """Whether `prepare` waits for the external storage."""
        task = self._task
        return self._external is not None and task is not None and self._external.fetches(task)

    def prepare(self) -> Task:
        """The task, if a worker may see it; running one on an input that is not there would pass for a success."""
        task = self._task
        if task is None:
            raise InputError("task", "there is none: what the server sent could not be decoded")
        if not task.task_id or not task.workflow_instance_id:
            raise InputError(
                "task_id",
                f"the task has no ids (task_id {task.task_id!r}, workflow_instance_id"
                f" {task.workflow_instance_id!r}), so its result could not be sent",
            )
        self._task = self._context.task = _with_payloads(task, self._external)
        return self._task

    def finished(self, returned: object) -> TaskResult:
        """What the worker, or a middleware, returned, as a result that may be sent. Never blocks."""
        if isinstance(returned, TaskInProgress):
            keeps, returned = returned.output is None, returned.result(self._held)
            if keeps:
                keep_output(returned, self._task, self._context.output)
        result = _usable(returned, self._held, self._worker_id)
        self._returned_logs = result.logs  # should a middleware fail now, they are the worker's all the same
        return result

    def blame(self, middleware: str, error: BaseException) -> None:
        """Should `error` end the task: it began in this middleware, not in the worker."""
        self._blamed = middleware, error

    def encode(self, returned: object) -> tuple[TaskResult, bytes]:
        """What the worker returned, as a result and its UpdateTaskRequest. Never blocks."""
        result = self.finished(returned)
        self._logs = result.logs = self._context.merged_logs(result.logs)
        return result, result.to_wire(self._big_integers)

    def stores(self, wire: bytes) -> bool:
        """Whether `complete` may wait for the external storage."""
        return self._external is not None and self._external.may_store(wire)

    def complete(self, result: TaskResult, wire: bytes) -> tuple[TaskResult, bytes]:
        """What is to be sent: the output is in external storage if it is too large."""
        self._logs = result.logs
        if self._external is not None:
            result, wire = self._external.outgoing(result, wire)
        if len(wire) > MAX_UPDATE_BYTES:
            raise PayloadEncodeError(
                f"the update of this task has {len(wire):,} bytes, and the server takes"
                f" {MAX_UPDATE_BYTES:,} at most: store the data elsewhere and return a reference to it, or set"
                " Configuration(external_payload_storage=...)",
                "output",
            )
        return result, wire

    def fail(self, error: BaseException) -> tuple[TaskResult, bytes]:
        """The result that says so: a task without an outcome blocks its workflow."""
        origin = f"middleware {self._blamed[0]!r} failed: " if self._blamed and self._blamed[1] is error else ""
        logs = self._context.merged_logs(self._returned_logs) if self._logs is None else self._logs
        result = _failure(self._held, self._worker_id, error, logs, origin)
        result.raised = type(error).__name__
        # An operator may need the output to find what the worker has begun elsewhere.
        return result, wire_keeping_output(result, self._task, self._context.output, "fails")


def _with_payloads(task: Task, external: ExternalPayloads | None) -> Task:
    if external is not None:
        return external.incoming(task)
    for name, path in (
        ("input_data", task.external_input_payload_storage_path),
        ("output_data", task.external_output_payload_storage_path),
    ):
        if path and not getattr(task, name):
            raise InputError(
                name,
                f"it is too large for the server to send and lies in its external storage at {path!r}: give"
                " Configuration(external_payload_storage=...) the storage that the server uses, or pass what is"
                " larger than 3 MiB by reference",
            )
    return task


def _usable(result: object, task: Task, worker_id: str) -> TaskResult:
    """A copy of `result` with the ids of the task, or WorkerDefinitionError if it must not be sent."""
    if isinstance(result, CoroutineType):
        result.close()  # or Python would complain, much later, that it was never awaited
        raise WorkerDefinitionError("execute returned a coroutine, expected a TaskResult: make it `async def execute`")
    if not isinstance(result, TaskResult):
        raise WorkerDefinitionError(
            f"execute returned {result!r:.80}, expected a TaskResult: return the one of get_task_result_from_task(task)"
        )
    ids = (result.task_id or task.task_id, result.workflow_instance_id or task.workflow_instance_id)
    if ids != (task.task_id, task.workflow_instance_id):
        raise WorkerDefinitionError(
            f"the worker returned the result of task {ids[0]!r} of workflow {ids[1]!r} for task"
            f" {task.task_id!r} of workflow {task.workflow_instance_id!r}: make a new TaskResult for each"
            " task"
        )
    output: object = result.output_data
    if output is not None and not isinstance(output, dict):
        raise WorkerDefinitionError(f"output_data is {output!r:.80}, expected a dict")
    return dataclasses.replace(
        result,
        task_id=task.task_id,
        workflow_instance_id=task.workflow_instance_id,
        worker_id=worker_id,
        status=_status(result),
        output_data=output or {},
        reason_for_incompletion=str(result.reason_for_incompletion or ""),
        logs=[_log(entry) for entry in result.logs or ()],
    )


def _log(entry: object) -> TaskLog:
    if not isinstance(entry, TaskLog):
        return TaskLog(str(entry))
    log, created = str(entry.log), entry.created_time
    return TaskLog(log, created) if isinstance(created, int) and 0 <= created < _YEAR_9999 else TaskLog(log)


def _status(result: TaskResult) -> TaskResultStatus:
    try:
        status = TaskResultStatus(result.status)  # its name as a plain string will do
    except ValueError:
        raise WorkerDefinitionError(
            f"the result has the status {result.status!r}, expected one of TaskResultStatus, as in"
            " task_result.status = TaskResultStatus.COMPLETED"
        ) from None
    delay: object = result.callback_after_seconds
    if not isinstance(delay, int) or isinstance(delay, bool) or not 0 <= delay < 2**31:
        raise WorkerDefinitionError(f"callback_after_seconds is {delay!r}, expected a whole number of seconds")
    if status is TaskResultStatus.IN_PROGRESS and delay == 0:
        raise WorkerDefinitionError(
            "the result is IN_PROGRESS with callback_after_seconds 0, and the server would hand the task"
            " out again at once: set it to 1 or more"
        )
    return status


def _failure(task: Task, worker_id: str, error: BaseException, logs: list[TaskLog], origin: str) -> TaskResult:
    terminal = isinstance(error, _TERMINAL_ERRORS)
    reason = bounded(origin + reason_of(error), MAX_REASON_BYTES)
    trace = bounded(traceback_of(error), MAX_LOG_BYTES)
    # The traceback as the task's log has it: our own frames (exc_info) say nothing. Terminal errors name their cause.
    logger.warning(
        "Task %s (%s) of workflow %s failed: %s",
        task.task_id,
        task.task_def_name,
        task.workflow_instance_id,
        reason if terminal else f"{reason}\n{trace}",
        extra=task_fields(task),
    )
    return TaskResult(
        workflow_instance_id=task.workflow_instance_id,
        task_id=task.task_id,
        status=TaskResultStatus.FAILED_WITH_TERMINAL_ERROR if terminal else TaskResultStatus.FAILED,
        reason_for_incompletion=reason,
        worker_id=worker_id,
        logs=[*logs, TaskLog(trace)],
    )
