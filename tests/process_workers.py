"""Workers for processes, in a module that a process can import."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conductor_grpc import NonRetryableError, Task, TaskResult, TaskResultStatus, WorkerInterface, worker_task
from conductor_grpc.worker.context import current_task

if TYPE_CHECKING:
    from conductor_grpc.worker.executor import Executor


@worker_task("square", executor="process")
def square(value: int) -> int:
    return value * value


@worker_task("where", executor="process", concurrency=3)
def where() -> list[Any]:
    return [os.getpid(), threading.current_thread() is threading.main_thread(), "grpc" in sys.modules]


@worker_task("raise", executor="process")
def raising(value: str) -> None:
    kinds = {"value": ValueError("no"), "never": NonRetryableError("never"), "exit": SystemExit(3)}
    raise kinds[value]


@worker_task("die", executor="process")
def die(value: str) -> str:
    if value == "exit":
        os._exit(3)
    if value == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if value == "segfault":
        ctypes.string_at(0)
    if value == "abort":
        os.abort()
    if value == "closed":  # what dies with open descriptors elsewhere, so that the pipe does not end
        subprocess.Popen(["sleep", "90"], close_fds=False)
        os._exit(4)
    return value


@worker_task("log", executor="process")
def log(value: str) -> None:
    logging.getLogger("of.the.worker").warning("it says %s", value)
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("of.the.worker").exception("it went")


class UnreadableError(Exception):
    """Can be pickled, but not made again from that."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one}{two}")


@worker_task("log unreadable", executor="process")
def log_unreadable() -> str:
    logging.getLogger("of.the.worker").warning("it went wrong", extra={"error": UnreadableError(1, 2)})
    return "done"


@worker_task("cancellable", executor="process")
def cancellable(value: str) -> None:
    folder = Path(value)
    (folder / f"begun-{time.monotonic_ns()}").touch()
    current_task().cancelled.wait(60)
    (folder / "reason").write_text(str(current_task().cancelled.reason))
    current_task().cancelled.raise_if_set()


@worker_task("deaf", executor="process", cancellation_grace=0.3)
def deaf(value: str) -> None:
    (Path(value) / "begun").write_text(str(os.getpid()))
    time.sleep(60)


@worker_task("until", executor="process", concurrency=2)
def until(value: str) -> str:
    """Runs until a file is there."""
    folder = Path(value)
    (folder / f"begun-{os.getpid()}").touch()
    end = time.monotonic() + 60
    while not (folder / "go").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return "done"


@worker_task("started", executor="process")
def started() -> int:
    """What a worker starts can be terminated, although the worker's process cannot."""
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    return child.wait(30)


@worker_task("large", executor="process")
def large(value: int) -> str:
    return "x" * value


@worker_task("unsendable", executor="process")
def unsendable() -> object:
    return 1j


class OddResult(TaskResult):
    pass


class Counting(WorkerInterface):
    executor: Executor | None = "process"
    count = 0

    def execute(self, task: Task) -> TaskResult:
        self.count += 1
        result = OddResult(status=TaskResultStatus.COMPLETED)
        result.add_output_data("result", self.count)
        result.log(f"task {task.task_id}")
        return result


class Unpicklable(Counting):
    def __init__(self) -> None:
        super().__init__("unpicklable")
        self.lock = threading.Lock()


class Unloadable(Counting):
    """Pickles, and cannot be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise ImportError("no such library")


class DyingEarly(Counting):
    """Takes its process along before that is ready."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)
