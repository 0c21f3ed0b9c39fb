"""Workers for the processes of a handler, in a module that a process can import."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conductor_grpc import Resource, Task, TaskContext, TaskResult, TaskResultStatus, WorkerInterface, worker_task
from conductor_grpc.poller import planner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Recorder(WorkerInterface):
    """Notes in a file each task that it begins, and finishes, with its process."""

    concurrency = 5

    def __init__(self, task_definition_name: str, record: str, seconds: float = 0.0) -> None:
        super().__init__(task_definition_name)
        self._record = record
        self._seconds = seconds

    def execute(self, task: Task) -> TaskResult:
        self.note("began", task.task_id)
        time.sleep(self._seconds)
        self.note("finished", task.task_id)
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result

    def note(self, what: str, task_id: str) -> None:
        with Path(self._record).open("a") as record:
            # One small append: whole, whichever thread or process writes.
            record.write(f"{what} {os.getpid()} {task_id}\n")


class Until(WorkerInterface):
    """Each task runs until the file `go` is in its folder."""

    concurrency = 2

    def __init__(self, task_definition_name: str, folder: str) -> None:
        super().__init__(task_definition_name)
        self.folder = folder

    def execute(self, task: Task) -> TaskResult:
        folder = Path(self.folder)
        (folder / f"began-{task.task_id}").write_text(str(os.getpid()))
        end = time.monotonic() + 60
        while not (folder / "go").exists() and time.monotonic() < end:
            time.sleep(0.02)
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result


class Slow(Until):
    """Takes for ever to be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_slowly, (self.folder,)


def _load_slowly(folder: str) -> None:
    (Path(folder) / f"loading-{os.getpid()}").touch()
    threading.Event().wait(60)


class Lingering(WorkerInterface):
    """Its poller dies in the first process, which a thread then keeps from its end; `first` names a file."""

    def __init__(self, first: str) -> None:
        super().__init__("lingering")
        self._first = first

    def __reduce__(self) -> tuple[Any, ...]:
        return _linger, (self._first,)

    def execute(self, task: Task) -> TaskResult:
        return self.get_task_result_from_task(task)


def _linger(first: str) -> Lingering:
    if not Path(first).exists():
        Path(first).touch()
        threading.Thread(target=threading.Event().wait, args=(60,)).start()
        planner.pause = _no_pause
    return Lingering(first)


def _no_pause(*_: object) -> float:
    raise RuntimeError("a mistake in a part of the poller")


@worker_task("pid")
def pid() -> int:
    return os.getpid()


@worker_task("crash", concurrency=1)
def crash(value: int) -> int:
    """Takes its process along."""
    os._exit(value)


class Unpicklable(Recorder):
    def __init__(self) -> None:
        super().__init__("unpicklable", "")
        self.lock = threading.Lock()


class Broken(Recorder):
    """Pickles, and cannot be loaded, which takes its time: another process that would poll meanwhile does."""

    def __init__(self, folder: Path) -> None:
        super().__init__("broken", "")
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, (self._folder,)


def _fail(folder: Path) -> None:
    end = time.monotonic() + 2.0
    while not any(folder.glob("began-*")) and time.monotonic() < end:
        time.sleep(0.02)
    raise ImportError("no such library")


class DyingEarly(Recorder):
    """Takes its process along before that is ready; from its second start on, if `first` names a file."""

    def __init__(self, first: str = "") -> None:
        super().__init__("dying", "")
        self._first = first

    def __reduce__(self) -> tuple[Any, ...]:
        return _die, (self._first,)


def _die(first: str) -> DyingEarly:
    if first and not Path(first).exists():
        Path(first).touch()
        return DyingEarly(first)
    os._exit(7)


def resource() -> Iterator[str]:
    yield "a resource"


def noting(context: TaskContext, call_next: Callable[[TaskContext], TaskResult]) -> TaskResult:
    """A middleware."""
    result = call_next(context)
    result.add_output_data("noted by", os.getpid())
    return result


@worker_task("resource")
def with_resource(text: Resource[str]) -> str:
    return text
