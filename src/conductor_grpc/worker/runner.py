"""Running one task with one worker, whatever the worker does."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Final, Literal

from conductor_grpc.errors import (
    InputError,
    NonRetryableError,
    PayloadEncodeError,
    TaskCancelledError,
    WorkerDefinitionError,
)
from conductor_grpc.worker.context import TaskContext, running
from conductor_grpc.worker.failure import reason_of, traceback_of
from conductor_grpc.worker.result import MAX_LOG_BYTES, MAX_REASON_BYTES, TaskLog, TaskResult
from conductor_grpc.worker.status import TaskResultStatus
from conductor_grpc.worker.task import Task, without_payload
from conductor_grpc.worker.text import bounded

if TYPE_CHECKING:
    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface

logger = logging.getLogger(__name__)

MAX_UPDATE_BYTES: Final = 4 * 1024 * 1024
"""The server refuses a longer request, and the task would stay IN_PROGRESS until its timeout."""

_YEAR_9999: Final = 253_370_764_800_000
"""In milliseconds; Python has no later dates."""

_TERMINAL_ERRORS: Final = (InputError, NonRetryableError, PayloadEncodeError, WorkerDefinitionError)
"""The same task with the same worker fails in the same way again: retries would only delay the news."""

BigIntegers = Literal["error", "string"]


def run_worker(
    worker: WorkerInterface, task: Task | None, worker_id: str, *, big_integers: BigIntegers = "error"
) -> TaskResult:
    """Runs the worker on the task and returns a result that can be sent. Never raises; blocks as long as the
    worker.

    * The worker raised: FAILED, the reason is `ValueError: text`, the traceback is the last log. That
      includes SystemExit and KeyboardInterrupt, which in a worker's thread come from the worker's own code.
    * It raised NonRetryableError, an input does not fit its signature (InputError), or the output has no JSON
      form (PayloadEncodeError) or is larger than a request may be: FAILED_WITH_TERMINAL_ERROR, for a retry
      ends likewise.
    * It returned what nobody can use: FAILED_WITH_TERMINAL_ERROR that says what was expected. That is: no
      TaskResult at all (a forgotten `return`), one without a status, one with the ids of another task (it
      would complete that one), or IN_PROGRESS without a `callback_after_seconds` (it would come back at once,
      for ever).
    * The task is not fit to run (no ids, or an input that lies in external storage): the worker is not
      called, FAILED_WITH_TERMINAL_ERROR. None stands for a task that could not be decoded; its result has no
      ids.

    A result without ids gets those of the task. The worker's own object is not changed, so it may keep it.
    Thread-safe if the worker is.
    """
    return run_to_wire(worker, task, worker_id, big_integers=big_integers)[0]


def run_to_wire(
    worker: WorkerInterface,
    task: Task | None,
    worker_id: str,
    *,
    big_integers: BigIntegers = "error",
    external: ExternalPayloads | None = None,
    context: TaskContext | None = None,
) -> tuple[TaskResult, bytes]:
    """As `run_worker`, with the serialised UpdateTaskRequest of the result. The worker sees `context`, if given, as its
    `current_task()`.

    With `external`, a payload that lies in external storage is fetched for the worker, and an output that is too
    large goes there; where that fails, so does the task (FAILED), and the reason says why.

    Only encoding tells whether an output can be sent, so the bytes are there anyway and a poller need not
    make them again.

    Raises:
        TaskCancelledError: The task was cancelled, and the worker let it pass: there is no result.
    """
    # A worker may put anything into its task, so what must be right is remembered.
    held = without_payload(task or Task())
    context = context or TaskContext(task or Task())
    logs: list[TaskLog] = []
    try:
        with running(context):
            returned = worker.execute(_runnable(task, external))
        result = _usable(returned, held, worker_id)
        logs = result.logs
        wire = result.to_wire(big_integers)
        if external is not None:
            result, wire = external.outgoing(result, wire)
        if len(wire) > MAX_UPDATE_BYTES:
            raise PayloadEncodeError(
                f"the update of this task has {len(wire):,} bytes, and the server takes"
                f" {MAX_UPDATE_BYTES:,} at most: store the data elsewhere and return a reference to it, or set"
                " Configuration(external_payload_storage=...)",
                "output",
            )
    except BaseException as error:
        if isinstance(error, TaskCancelledError) and context.cancelled.is_set():
            raise
        # Whatever else it is: a task without an outcome blocks its workflow.
        result = _failure(held, worker_id, error, logs)
        wire = result.to_wire()
    return result, wire


def _runnable(task: Task | None, external: ExternalPayloads | None) -> Task:
    """`task`, if a worker may see it; running one on an input that is not there would pass for a success."""
    if task is None:
        raise InputError("task", "there is none: what the server sent could not be decoded")
    if not task.task_id or not task.workflow_instance_id:
        raise InputError(
            "task_id",
            f"the task has no ids (task_id {task.task_id!r}, workflow_instance_id"
            f" {task.workflow_instance_id!r}), so its result could not be sent",
        )
    return _with_payloads(task, external)


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


def _failure(task: Task, worker_id: str, error: BaseException, logs: list[TaskLog]) -> TaskResult:
    terminal = isinstance(error, _TERMINAL_ERRORS)
    reason = bounded(reason_of(error), MAX_REASON_BYTES)
    trace = bounded(traceback_of(error), MAX_LOG_BYTES)
    # The traceback as the task's log has it: our own frames (exc_info) say nothing. Terminal errors name their cause.
    logger.warning(
        "Task %s (%s) of workflow %s failed: %s",
        task.task_id,
        task.task_def_name,
        task.workflow_instance_id,
        reason if terminal else f"{reason}\n{trace}",
    )
    return TaskResult(
        workflow_instance_id=task.workflow_instance_id,
        task_id=task.task_id,
        status=TaskResultStatus.FAILED_WITH_TERMINAL_ERROR if terminal else TaskResultStatus.FAILED,
        reason_for_incompletion=reason,
        worker_id=worker_id,
        logs=[*logs, TaskLog(trace)],
    )
