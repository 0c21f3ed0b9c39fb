"""Running one task with one worker, whatever the worker does."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING

from conductor_grpc.errors import TaskCancelledError
from conductor_grpc.worker.attempt import Attempt, BigIntegers
from conductor_grpc.worker.context import TaskContext, running
from conductor_grpc.worker.executor import is_async
from conductor_grpc.worker.middleware import run_through, run_through_async
from conductor_grpc.worker.middleware.chain import awaitable
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.result import TaskResult

__all__ = ["BigIntegers", "run_to_wire", "run_to_wire_async", "run_worker"]


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
    The worker's own middleware goes around it, and there are no resources. An async worker gets an event loop for this
    one task, so the calling thread must not run one.
    Thread-safe if the worker is.
    """
    middleware = worker.middleware
    if middleware and task is not None and is_async(worker):
        context = TaskContext(task)
        run = run_to_wire_async(
            worker, task, worker_id, big_integers=big_integers, context=context, middleware=middleware
        )
        return asyncio.run(run)[0]
    return run_to_wire(worker, task, worker_id, big_integers=big_integers, middleware=middleware)[0]


def run_to_wire(
    worker: WorkerInterface,
    task: Task | None,
    worker_id: str,
    *,
    big_integers: BigIntegers = "error",
    external: ExternalPayloads | None = None,
    context: TaskContext | None = None,
    middleware: Sequence[Middleware] = (),
) -> tuple[TaskResult, bytes]:
    """As `run_worker`, with the serialised UpdateTaskRequest of the result. The worker sees `context`, if given, as its
    `current_task()`.

    With `external`, a payload that lies in external storage is fetched for the worker, and an output that is too
    large goes there; where that fails, so does the task (FAILED), and the reason says why.

    `middleware`, checked and with its outermost first, goes around the worker and nothing else: it sees the task with
    its payloads, and the result before that is encoded. The worker's own is not added to it. What it raises fails the
    task as if it were the worker's, and the reason names it.

    Only encoding tells whether an output can be sent, so the bytes are there anyway and a poller need not
    make them again.

    Raises:
        TaskCancelledError: The task was cancelled, and the worker let it pass: there is no result.
    """
    context = context or TaskContext(task or Task())
    attempt = Attempt(task, context, worker_id, big_integers, external)
    try:
        with running(context):
            task = attempt.prepare()
            returned: object
            if middleware:
                returned = run_through(middleware, worker, context, attempt)
            else:
                returned = worker.execute(task)
                if isinstance(returned, CoroutineType) and is_async(worker):
                    returned = asyncio.run(returned)
        return attempt.complete(*attempt.encode(returned))
    except BaseException as error:
        if isinstance(error, TaskCancelledError) and context.cancelled.is_set():
            raise
        return attempt.fail(error)


async def run_to_wire_async(
    worker: WorkerInterface,
    task: Task,
    worker_id: str,
    *,
    big_integers: BigIntegers = "error",
    external: ExternalPayloads | None = None,
    context: TaskContext,
    middleware: Sequence[Middleware] = (),
) -> tuple[TaskResult, bytes]:
    """As `run_to_wire`, for a worker whose `execute` is a coroutine function. The external storage, which blocks, is
    used in a thread.

    Raises:
        TaskCancelledError: The task was cancelled, and the worker let that, or the CancelledError it got for it, pass:
            there is no result. A CancelledError without that is a failure of the worker like any other.
    """
    attempt = Attempt(task, context, worker_id, big_integers, external)
    try:
        with running(context):
            task = await asyncio.to_thread(attempt.prepare) if attempt.may_block else attempt.prepare()
            returned: object
            if middleware:
                returned = await run_through_async(middleware, worker, context, attempt)
            else:
                returned = await awaitable(worker.execute(task))
        result, wire = attempt.encode(returned)
        if attempt.stores(wire):
            return await asyncio.to_thread(attempt.complete, result, wire)
        return attempt.complete(result, wire)
    except GeneratorExit:  # nobody will ever go on with this coroutine
        raise
    except BaseException as error:
        if context.cancelled.is_set() and isinstance(error, (asyncio.CancelledError, TaskCancelledError)):
            raise TaskCancelledError(f"the task was cancelled while it ran: {context.cancelled.reason}") from error
        return attempt.fail(error)
