"""What a running task may ask of the poller that runs it."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from conductor_grpc._core import CancellationFlag
from conductor_grpc.errors import TaskCancelledError, WorkerDefinitionError
from conductor_grpc.worker.progress import line, snapshot
from conductor_grpc.worker.resources import ResourceMap
from conductor_grpc.worker.result import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


class LeaseTime(Protocol):
    """The time for which the server leaves a task to us, as far as its poller knows."""

    @property
    def ends(self) -> float:
        """When it is over unless it is extended, by the monotonic clock."""


_NEVER: Final = Cancellation()
_NO_RESOURCES: Final = ResourceMap()


@dataclass(slots=True, eq=False)
class TaskContext:
    """The task that runs here, and what its poller knows about it."""

    task: Task
    cancelled: Cancellation = field(default_factory=Cancellation)
    """Set when nobody waits for the result any more: the workflow was terminated, the task timed out or was given to
    another worker, or the poller has stopped. Whatever the worker still returns is ignored by the server then."""
    stopping: Cancellation = field(default=_NEVER, repr=False)
    """Set when the poller begins to stop. The task may go on until the drain's deadline."""
    resources: Mapping[str, Any] = field(default_factory=lambda: _NO_RESOURCES, repr=False)
    """What the poller's `resources` have opened in this process, by name."""
    logs: list[TaskLog] = field(default_factory=list)
    """What `add_log` has gathered."""
    output: dict[str, object] | None = None
    """The output that `progress` was given last; None: none."""
    report: Callable[[str], object] | None = field(default=None, repr=False)
    """Set by the poller: takes lines of progress for the task's log. Thread-safe, never blocks long."""
    lease: LeaseTime | None = field(default=None, repr=False)
    """Set by the poller where the task has a response timeout."""

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

    @property
    def lease_remaining(self) -> float | None:
        """Seconds until the server would give the task to another worker if its lease were not extended any more: what
        is left of its response timeout, 0.0 once that is over. None: the task has no response timeout, or no poller
        runs it. A task found again after a loss may have less, until its lease is extended for the first time.
        Thread-safe, never blocks."""
        return None if self.lease is None else max(0.0, self.lease.ends - time.monotonic())

    def add_log(self, message: str) -> None:
        """Adds a line to the task's log, with the time of now; it is sent with the result, also that of a failure, and
        not at once. Thread-safe."""
        self.logs.append(TaskLog(str(message)))

    def progress(self, output: Mapping[str, object] | None = None, message: str = "") -> None:
        """Say how far the task is, as often as you like. Thread-safe; never waits for the server.

        A line in the task's log shows it while the task runs: `message`, or else `output` as JSON. A task gets one line
        in two seconds at most, in which the newest wins; one that cannot be sent is left out.

        `output` is kept: the task has it in its `output_data` if it fails, if it is handed back when the poller stops,
        or if it returns a TaskInProgress that has no output. It replaces that of earlier calls (None: leaves it as it
        is), and has no part in the output of a task that is completed.

        Raises:
            WorkerDefinitionError: Neither was given, or the output is no mapping.
            PayloadEncodeError: A value in the output has no JSON form.
        """
        if output is None and not message:
            raise WorkerDefinitionError("progress() got nothing to tell, expected an output, a message, or both")
        if output is not None:
            self.output = snapshot(output)
        report = self.report
        if report is not None:
            report(line(str(message), self.output))

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
    context = running_task()
    if context is None:
        raise WorkerDefinitionError(
            "current_task() was called where no task runs: call it inside a worker's function, and start threads of "
            "your own with contextvars.copy_context().run"
        )
    return context


def running_task() -> TaskContext | None:
    """As `current_task`; None where no task runs."""
    return _current.get(None)


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
