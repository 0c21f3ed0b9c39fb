"""Middleware, resources and workers that use them, in a module that a process can import."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conductor_grpc import Resource, Task, TaskResult, TaskResultStatus, WorkerInterface, current_task, worker_task
from conductor_grpc.worker.middleware import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conductor_grpc import TaskContext
    from conductor_grpc.worker.middleware import AsyncCallNext, CallNext

LEDGER = "TEST_LEDGER"
"""The environment variable that names the file in which resources say what becomes of them."""


def note(line: str) -> None:
    with Path(os.environ[LEDGER]).open("a") as ledger:
        ledger.write(f"{line}\n")


class Pool:
    """What a resource may be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_open = True

    def ask(self, question: object) -> str:
        assert self.is_open
        return f"{self.name} {os.getpid()} {question}"


@contextlib.contextmanager
def open_pool() -> Iterator[Pool]:
    pool = Pool("pool")
    note(f"open pool {os.getpid()}")
    try:
        yield pool
    finally:
        pool.is_open = False
        note(f"close pool {os.getpid()}")


def open_cache() -> Iterator[Pool]:
    """As a fixture of pytest."""
    note(f"open cache {os.getpid()}")
    yield Pool("cache")
    note(f"close cache {os.getpid()}")


async def open_session() -> AsyncIterator[Pool]:
    note(f"open session {os.getpid()}")
    session = Pool("session")
    yield session
    session.is_open = False
    note(f"close session {os.getpid()}")


def refused() -> Iterator[Pool]:
    yield _connected()


def _connected() -> Pool:
    raise OSError("no route to host")


def stuck_open() -> Iterator[Pool]:
    yield Pool("stuck")
    raise OSError("it does not close")


def slow_open() -> Iterator[int]:
    note("opening")
    go = Path(os.environ[LEDGER]).with_name("go")
    while not go.exists():
        time.sleep(0.01)
    yield 1
    note("closed")


@worker_task("ask")
def ask(value: object, pool: Resource[Pool]) -> str:
    return pool.ask(value)


@worker_task("ask_async", concurrency=3)
async def ask_async(value: object, pool: Resource[Pool], *, session: Resource[Pool]) -> list[str]:
    return [pool.ask(value), session.ask(value)]


@worker_task("ask_process", executor="process", concurrency=2)
def ask_process(value: object, pool: Resource[Pool]) -> str:
    return pool.ask(value)


class AskClass(WorkerInterface):
    """By name."""

    def execute(self, task: Task) -> TaskResult:
        result = self.get_task_result_from_task(task)
        result.output_data = {"result": current_task().resources[str(task.input_data["value"])].ask("?")}
        result.status = TaskResultStatus.COMPLETED
        return result


class Marking:
    """Says in the output which process it ran in, and fails where the input says so. For workers of all kinds."""

    __name__ = "marking"

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        return self._marked(context, call_next(context))

    async def call_async(self, context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        return self._marked(context, await call_next(context))

    def _marked(self, context: TaskContext, result: TaskResult) -> TaskResult:
        if context.task.input_data.get("value") == "fail":
            raise ValueError("asked to")
        result.output_data = {"result": [*_listed(result.output_data.get("result")), os.getpid()]}
        return result


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def own(context: TaskContext, call_next: CallNext) -> TaskResult:
    result = call_next(context)
    result.output_data = {"result": [*_listed(result.output_data["result"]), "own"]}
    return result


@worker_task("plain", middleware=[own])
def plain(value: object) -> object:
    return value


@worker_task("process", executor="process", middleware=[own])
def process(value: object) -> object:
    return value


@worker_task("coroutine")
async def coroutine(value: object) -> object:
    return value


class Told(RateLimit):
    """Says in the output what its rate is."""

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        result = super().__call__(context, call_next)
        result.output_data = {"result": [*_listed(result.output_data["result"]), self.per_second]}
        return result


@worker_task("paced", executor="process", concurrency=4, middleware=[Told(40, 1)])
def paced(value: object) -> object:
    return value


@worker_task("limited_process", executor="process")
def limited_process(value: str) -> None:
    note(value)
