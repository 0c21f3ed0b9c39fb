"""One call of one worker, without a server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import TaskCancelledError
from conductor_grpc.payload import decode_map, encode_map
from conductor_grpc.pb.model import task_pb2, taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.worker import Cancellation, Task, TaskContext, TaskLog, TaskResult, check_worker, run_to_wire
from conductor_grpc.worker.executor import is_async
from conductor_grpc.worker.middleware import check_middleware
from conductor_grpc.worker.resources import ResourceMap
from conductor_grpc.worker.runner import run_to_wire_async

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conductor_grpc.worker import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.runner import BigIntegers

_WORKER_ID: Final = "call_worker"

_INPUT: Final = task_pb2.Task.DESCRIPTOR.fields_by_name["input_data"].number
_TASK_OUTPUT: Final = task_pb2.Task.DESCRIPTOR.fields_by_name["output_data"].number
_RESULT_OUTPUT: Final = taskresult_pb2.TaskResult.DESCRIPTOR.fields_by_name["output_data"].number


def call_worker(
    worker: WorkerInterface,
    input: Mapping[str, object] | None = None,  # noqa: A002 - what Conductor calls it
    *,
    output_data: Mapping[str, object] | None = None,
    big_integers: BigIntegers = "error",
    cancelled: str | Cancellation | None = None,
    middleware: Sequence[Middleware] = (),
    resources: Mapping[str, object] | None = None,
    **fields: Any,
) -> TaskResult:
    """Runs one task with `worker` as a poller does, and returns the result as the server gets it.

    The input is encoded as a server sends it and decoded as a poller reads it, so a whole number arrives as an int
    (5.0 as 5), a date as its text. The worker runs in a thread of its own, under the poller's rules: what it raises
    is a FAILED result with the traceback as its last log, an input that does not fit FAILED_WITH_TERMINAL_ERROR. The
    output of the result is what the server stores of it: text for dates, enums' values, ten logs at most.

    Blocks until the worker is done. Thread-safe if the worker is.

    Args:
        worker: An instance of a WorkerInterface or a function under `@worker_task`.
        input: The task's input data.
        output_data: What the worker's previous IN_PROGRESS result of this task left.
        big_integers: As in `Configuration`.
        cancelled: Why the task is cancelled, before the worker begins it; or a Cancellation, to be `set` while it runs.
        middleware: What a poller would have around each worker; the worker's own goes inside of it.
        resources: The resources themselves, by name, open already: what the worker gets in the place of those of a
            poller.
        fields: Further fields of the task, as the wire has them: `retry_count=2`, `workflow_instance_id="w"`. Ids are
            made up where none is given.

    Raises:
        TaskCancelledError: The task was cancelled, and the worker has given it up: a poller would send no result.
        WorkerDefinitionError: It is no worker, or the middleware does not fit it.
        PayloadEncodeError: The input, or `output_data`, cannot be sent to any worker.
        TypeError: A task has no such field, or it has another type; or `cancelled` has.
    """
    checked = check_worker(worker)
    task = Task.from_wire(_task_wire(checked, input or {}, output_data or {}, fields))
    check_middleware(middleware, checked)
    context = TaskContext(task, _cancellation(cancelled), resources=ResourceMap(resources or {}))
    settings: dict[str, Any] = {
        "big_integers": big_integers,
        "context": context,
        "middleware": (*middleware, *checked.middleware),
    }
    done: list[tuple[TaskResult, bytes] | TaskCancelledError] = []

    def run() -> None:
        try:
            if is_async(checked):
                done.append(asyncio.run(_run_async(checked, task, context, settings)))
            else:
                done.append(run_to_wire(checked, task, _WORKER_ID, **settings))
        except TaskCancelledError as error:
            done.append(error)

    # As in production: no event loop is there, signals cannot be handled. And Ctrl-C, which would be an error of
    # the worker's if it ran here, ends the tests.
    thread = threading.Thread(target=run, name="call_worker", daemon=True)
    thread.start()
    thread.join()
    (outcome,) = done
    if isinstance(outcome, TaskCancelledError):
        raise outcome
    return _as_received(*outcome)


async def _run_async(
    worker: WorkerInterface, task: Task, context: TaskContext, settings: dict[str, Any]
) -> tuple[TaskResult, bytes]:
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    assert running is not None

    def cancel() -> None:
        with contextlib.suppress(RuntimeError):  # it comes when the loop is closed already
            loop.call_soon_threadsafe(running.cancel)

    context.cancelled.call_when_set(cancel)
    return await run_to_wire_async(worker, task, _WORKER_ID, **settings)


def _cancellation(given: str | Cancellation | None) -> Cancellation:
    if isinstance(given, Cancellation):
        return given
    cancellation = Cancellation()
    if not isinstance(given, (str, type(None))):
        raise TypeError(f"cancelled is {given!r}, expected the reason as text, a Cancellation, or None")
    if given is not None:
        cancellation.set(given)
    return cancellation


def _task_wire(
    worker: WorkerInterface, inputs: Mapping[str, object], outputs: Mapping[str, object], fields: Mapping[str, Any]
) -> bytes:
    known = task_pb2.Task.DESCRIPTOR.fields_by_name.keys()
    unknown = sorted(fields.keys() - known)
    if unknown:
        raise TypeError(f"a task has no field {', '.join(unknown)}: expected {', '.join(sorted(known))}")
    name = worker.task_definition_name
    made_up = {
        "task_id": str(uuid.uuid4()),
        "workflow_instance_id": str(uuid.uuid4()),
        "task_type": name,
        "task_def_name": name,
        "reference_task_name": name,
        "domain": worker.domain or "",
        "worker_id": _WORKER_ID,
        "poll_count": 1,
    }
    task = task_pb2.Task(**{**made_up, **fields})
    return task.SerializeToString() + encode_map(inputs, _INPUT) + encode_map(outputs, _TASK_OUTPUT)


def _as_received(result: TaskResult, wire: bytes) -> TaskResult:
    received = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    return dataclasses.replace(
        result,
        output_data={**decode_map(received.SerializeToString(), _RESULT_OUTPUT)},
        reason_for_incompletion=received.reason_for_incompletion,
        logs=[TaskLog(each.log, each.created_time) for each in received.logs],
    )
