"""Workers that use their context, one class for each thing and one instance for each executor; in a module that a
process can import."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conductor_grpc import Task, TaskInProgress, TaskResult, TaskResultStatus, WorkerInterface, current_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.worker.executor import Executor

EXECUTORS: tuple[Executor, ...] = ("thread", "async", "process", "native")

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Worker(WorkerInterface):
    """Its `work` returns what is to be `result` in the output, or what `execute` may return."""

    def execute(self, task: Task) -> Any:
        return self._result(task, self.work(task))

    def work(self, task: Task) -> Any:
        raise NotImplementedError

    def _result(self, task: Task, value: object) -> object:
        if isinstance(value, (TaskInProgress, TaskResult)):
            return value
        result = self.get_task_result_from_task(task)
        result.add_output_data("result", value)
        result.status = TaskResultStatus.COMPLETED
        return result


def on_every_executor(kind: type[Worker], executors: Iterable[Executor] = EXECUTORS, **options: Any) -> list[Worker]:
    """A worker of this kind for each executor, of which it has the name."""
    return [_one(kind, each, options) for each in executors]


def _one(kind: type[Worker], executor: Executor, options: dict[str, Any]) -> Worker:
    if executor != "async":
        return kind(executor, executor=executor, **options)

    class Async(kind):  # type: ignore[valid-type, misc]
        async def execute(self, task: Task) -> Any:
            # In a thread, since most of them block.
            return self._result(task, await asyncio.to_thread(self.work, task))

    return Async(executor, **options)


class Polling(Worker):
    """Is not done before its third turn."""

    def work(self, task: Task) -> object:
        here = [task.poll_count, current_task().attempt, current_task().idempotency_key]
        turns = [*task.output_data.get("turns", []), here]  # type: ignore[misc]
        if len(turns) < 3:
            return TaskInProgress(1, {"turns": turns, f"turn {len(turns)}": True})
        return [turns, sorted(task.output_data)]


class Telling(Worker):
    """Says how far it is, waits until a file is there, and ends as `input["value"]` says."""

    def work(self, task: Task) -> object:
        context, (folder, ending) = current_task(), task.input_data["value"]  # type: ignore[misc]
        context.progress({"pages": 1})
        context.progress({"pages": 2, "of": 3}, "two of three pages")
        name = f"told-{task.task_def_name}"
        (Path(str(folder)) / name).touch()
        end = time.monotonic() + 60
        while not (Path(str(folder)) / "go").exists() and time.monotonic() < end and not context.cancelled.wait(0.01):
            pass
        if ending == "raise":
            raise ValueError("no more paper")
        if ending == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if ending == "later":
            return TaskInProgress(600)
        context.cancelled.raise_if_set()
        return "done"


class Leased(Worker):
    """Returns how long its lease is, first and once it was extended."""

    def work(self, task: Task) -> object:  # noqa: ARG002
        first = now = current_task().lease_remaining
        if first is None:
            return None
        end = time.monotonic() + 60
        before = now
        while now is not None and now <= before and time.monotonic() < end:
            before = now
            time.sleep(0.01)
            now = current_task().lease_remaining
        return [first, before, now]


class Logging(Worker):
    """Logs a record, and one in a thread of its own."""

    def work(self, task: Task) -> object:
        logging.getLogger("of.the.worker").warning("at work on %s", task.task_def_name)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, logging.getLogger("of.the.worker").warning, "in a thread")
        return task.worker_id


class Variables(Worker):
    """Returns the variable as it finds it, and sets it."""

    def work(self, task: Task) -> object:
        found = VARIABLE.get()
        VARIABLE.set(str(task.input_data["value"]))
        return found
