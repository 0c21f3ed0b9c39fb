"""What a running task may ask of the poller that runs it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conductor_grpc._core import CancellationFlag
from conductor_grpc.errors import TaskCancelledError, WorkerDefinitionError
from conductor_grpc.worker.result import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)


class Cancellation:
    """Tells a running task that nobody waits for its result any more: an event that says why. Thread-safe.

    Cheap until somebody waits for it, since every task has one and few are ever cancelled.
    """

    __slots__ = ("_callbacks", "_event", "_flag", "_reason")

    _lock = threading.Lock()
    """One for all of them: it is taken only where a cancellation is waited for or happens."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._event: threading.Event | None = None
        self._flag: CancellationFlag | None = None
        self._callbacks: list[Callable[[], object]] = []

    @property
    def reason(self) -> str | None:
        """Why the task was cancelled; None while it is not."""
        return self._reason

    @property
    def flag(self) -> CancellationFlag:
        """The same for code that runs without the interpreter's lock: an atomic flag, see
        `conductor_grpc/cancellation.hpp`. It lives as long as anybody holds it."""
        with self._lock:
            if self._flag is None:
                self._flag = CancellationFlag()
                if self._reason is not None:
                    self._flag.set()
            return self._flag

    def is_set(self) -> bool:
        return self._reason is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds (None: for ever) for the cancellation; True if it has come.

        In the place of `time.sleep` it makes a worker end its pauses as soon as they are of no use.
        """
        with self._lock:
            if self._reason is not None:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(timeout)

    def raise_if_set(self) -> None:
        """
        Raises:
            TaskCancelledError: The task was cancelled. A worker lets it pass: no result is sent for its task then.
        """
        if self._reason is not None:
            raise TaskCancelledError(f"the task was cancelled while it ran: {self._reason}")

    def call_when_set(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the cancellation comes, on the thread that cancels; at once if it has come. It must
        not block. What it raises on the thread that cancels is logged, and stops nothing else."""
        with self._lock:
            if self._reason is None:
                self._callbacks.append(callback)
                return
        callback()

    def set(self, reason: str) -> bool:
        """Cancel; False if it was cancelled before, for the reason given first. Never blocks."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, []
            if self._event is not None:
                self._event.set()
            if self._flag is not None:
                self._flag.set()
        for callback in callbacks:
            _call(callback)
        return True


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # it is the worker's, and whoever cancels has other tasks to care for
        logger.exception("a callback given to call_when_set failed; the task is cancelled nevertheless")


@dataclass(slots=True, eq=False)
class TaskContext:
    """The task that runs here, and what its poller knows about it."""

    task: Task
    cancelled: Cancellation = field(default_factory=Cancellation)
    """Set when nobody waits for the result any more: the workflow was terminated, the task timed out or was given to
    another worker, or the poller has stopped. Whatever the worker still returns is ignored by the server then."""
    logs: list[TaskLog] = field(default_factory=list)
    """What `add_log` has gathered."""

    @property
    def attempt(self) -> int:
        """Which attempt at the task this is, from 1. Being handed out once more does not count, only being tried again
        after a failure or a timeout does."""
        return self.task.retry_count + 1

    @property
    def idempotency_key(self) -> str:
        """A text that is the same whenever this step of this workflow runs, in whichever attempt, and for no other one:
        for systems that are to do a thing once only. A workflow that is restarted or rerun repeats its keys."""
        task = self.task
        return f"{task.workflow_instance_id}/{task.reference_task_name}/{task.iteration}"

    def add_log(self, message: str) -> None:
        """Adds a line to the task's log, with the time of now; it is sent with the result, also that of a failure, and
        not at once. Thread-safe."""
        self.logs.append(TaskLog(str(message)))

    def merged_logs(self, logs: list[TaskLog]) -> list[TaskLog]:
        """These and the context's, in the order of their times."""
        return sorted([*self.logs, *logs], key=lambda entry: entry.created_time) if self.logs else logs


_current: ContextVar[TaskContext] = ContextVar("conductor_grpc_task")


def current_task() -> TaskContext:
    """The context of the task that the calling thread, or asyncio task, runs. Never blocks.

    Raises:
        WorkerDefinitionError: No task runs here. Threads that a worker starts see its context only if they are
            started through `contextvars.copy_context().run`.
    """
    context = _current.get(None)
    if context is None:
        raise WorkerDefinitionError(
            "current_task() was called where no task runs: call it inside a worker's function, and start threads of "
            "your own with contextvars.copy_context().run"
        )
    return context


@contextmanager
def running(context: TaskContext) -> Iterator[None]:
    """Makes `context` that of the calling thread, or asyncio task, while the block lasts."""
    token = _current.set(context)
    try:
        yield
    finally:
        try:
            _current.reset(token)
        except ValueError:  # a coroutine that nobody will go on with is thrown away, in another context
            logger.debug("task %s was left where it stood", context.task.task_id)
