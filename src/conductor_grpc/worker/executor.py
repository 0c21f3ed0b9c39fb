"""Which executor runs a worker: said by the worker, or by the kind of its function."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final, Literal, get_args

from conductor_grpc.errors import WorkerDefinitionError

if TYPE_CHECKING:
    from conductor_grpc.worker.interface import WorkerInterface

Executor = Literal["thread", "async", "process", "native"]

EXECUTORS: Final[tuple[Executor, ...]] = get_args(Executor)


def is_async(worker: WorkerInterface) -> bool:
    """Whether its `execute` is a coroutine function."""
    return inspect.iscoroutinefunction(worker.execute)


def executor_of(worker: WorkerInterface) -> Executor:
    """The executor that runs it; `worker` was checked."""
    return worker.executor or ("async" if is_async(worker) else "thread")


def check_executor(worker: WorkerInterface) -> None:
    """
    Raises:
        WorkerDefinitionError: It asks for an executor that there is not, or that cannot run it.
    """
    name, executor = worker.task_definition_name, worker.executor
    if executor is None:
        return
    if executor not in EXECUTORS:
        known = ", ".join(map(repr, EXECUTORS))
        raise WorkerDefinitionError(f"worker {name!r} has executor {executor!r}, expected one of {known}, or None")
    if executor == "async" and not is_async(worker):
        raise WorkerDefinitionError(
            f"worker {name!r} has executor 'async' and is a plain function, which would block all the others: make it"
            " async def, or leave the executor out, for threads"
        )
    if executor != "async" and is_async(worker):
        raise WorkerDefinitionError(
            f"worker {name!r} has executor {executor!r} and is async: leave the executor out, or make it a plain def"
            " (which may call asyncio.run)"
        )
