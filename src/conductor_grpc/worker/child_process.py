"""What runs in the process of a slot: see `poller/slots/processes.py` for its other end.

Only what a worker needs is imported here: no gRPC, since every slot pays for it with time and memory.
"""

from __future__ import annotations

import contextvars
import dataclasses
import faulthandler
import logging
import os
import pickle
import queue
import signal
import sys
import threading
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import ResourceError, TaskCancelledError
from conductor_grpc.worker.attempt import Attempt, BigIntegers
from conductor_grpc.worker.context import Cancellation, TaskContext, running
from conductor_grpc.worker.log_filter import TaskLogFilter
from conductor_grpc.worker.middleware import RateLimit, run_through
from conductor_grpc.worker.resources import ResourceMap, ResourceStack
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from types import FrameType

    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware

# The first part of each message. To the child:
TASK: Final = "task"
CANCEL: Final = "cancel"
LEASE: Final = "lease"
STOPPING: Final = "stopping"
END: Final = "end"
# From the child:
READY: Final = "ready"
BROKEN: Final = "broken"
OUTCOME: Final = "outcome"
GIVEN_UP: Final = "given up"
CLOSED: Final = "closed"
PROGRESS: Final = "progress"
LOG: Final = "log"

SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
"""Blocked when the process starts. They reach it where a terminal or a service manager sends them to all processes,
and the poller decides what becomes of the tasks then."""

_ORPHANED: Final = 1
"""Exit code of a process whose poller is gone."""


@dataclasses.dataclass(frozen=True)
class ChildSettings:
    """What a process needs to know before its first task."""

    worker: bytes
    """Pickled: it may be impossible to load in the process, which shall say so in words."""
    worker_id: str
    big_integers: BigIntegers
    log_levels: dict[str, int]
    """Of the root logger, "", and of this package."""
    middleware: bytes = b""
    """Pickled: the poller's, which goes around the worker's own; empty: none."""
    resources: bytes = b""
    """Pickled: the functions that open them, by name; empty: none."""
    processes: int = 1
    """How many there may be of this worker, which share its rate limits."""


@dataclasses.dataclass(frozen=True)
class SentLease:
    """What the poller's process has told last of a lease that it keeps."""

    ends: float
    """By the monotonic clock, which is the same in all processes of a machine."""


class Child:
    """The process's end of the pipe. The main thread runs tasks, another one reads."""

    def __init__(self, connection: Connection[Any, Any], settings: ChildSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._sending = threading.Lock()
        self._tasks: queue.SimpleQueue[TaskContext | None] = queue.SimpleQueue()
        self._resources = ResourceMap()
        self._stopping = Cancellation()

    def send(self, *message: object) -> None:
        with self._sending:
            self._connection.send(message)

    def main(self) -> None:
        what = "worker"
        try:
            worker: WorkerInterface = pickle.loads(self._settings.worker)
            what = "poller's middleware"
            outer = pickle.loads(self._settings.middleware) if self._settings.middleware else ()
            what = "function that opens a resource"
            resources = pickle.loads(self._settings.resources) if self._settings.resources else {}
        except BaseException as error:  # noqa: BLE001 - it is user code that is imported here
            self.send(BROKEN, f"the {what} cannot be loaded there: {type(error).__name__}: {error}")
            return
        # Now, since the import may have set up logging of its own.
        forward_logs(self.send, _end_as_orphan, self._settings.log_levels)
        threading.Thread(target=self._read, name="conductor-pipe", daemon=True).start()
        stack = ResourceStack(None)
        try:
            stack.open(resources)
        except ResourceError as error:
            stack.close()
            self.send(BROKEN, str(error))
            return
        self._resources = stack.values
        self.send(READY)
        # Each process keeps to its share of a rate limit, so that all together keep to it.
        shares = [
            each.share(self._settings.processes) if isinstance(each, RateLimit) else each
            for each in (*outer, *worker.middleware)
        ]
        self._serve(worker, shares)
        self.send(CLOSED, stack.close())

    def _serve(self, worker: WorkerInterface, middleware: Sequence[Middleware]) -> None:
        while (context := self._tasks.get()) is not None:
            # In a copy, so that what one task sets is not there for the next one.
            contextvars.copy_context().run(self._run, worker, context, middleware)
            context.report = None  # its task is over, and this would keep it in memory

    def _run(self, worker: WorkerInterface, context: TaskContext, middleware: Sequence[Middleware]) -> None:
        task, cancelled = context.task, context.cancelled
        context.resources = self._resources
        attempt = Attempt(task, context, self._settings.worker_id, self._settings.big_integers)
        try:
            with running(context):
                if middleware:
                    returned: object = run_through(middleware, worker, context, attempt)
                else:
                    returned = worker.execute(task)
            result, wire = attempt.encode(returned)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, is a failure of this task and no more
            if isinstance(error, TaskCancelledError) and cancelled.is_set():
                self.send(GIVEN_UP, cancelled.reason)
                return
            result, wire = attempt.fail(error)
        self.send(OUTCOME, _without_output(result), wire)

    def _read(self) -> None:
        context = TaskContext(Task())
        while True:
            try:
                kind, *content = self._connection.recv()
            except (EOFError, OSError):
                # The poller is gone, even if it was killed. Nobody can take a result, and the task is or will be
                # with somebody else.
                _end_as_orphan()
            if kind == TASK:
                context = self._context(*content)
                self._tasks.put(context)
            elif kind == CANCEL:
                context.cancelled.set(content[0])
            elif kind == LEASE:
                context.lease = SentLease(content[0])
            elif kind == STOPPING:
                self._stopping.set(content[0])
            else:
                self._tasks.put(None)

    def _context(self, task: Task, lease_ends: float | None) -> TaskContext:
        lease = None if lease_ends is None else SentLease(lease_ends)
        context = TaskContext(task, stopping=self._stopping, lease=lease)
        task_id = task.task_id  # before the worker can change it
        context.report = lambda line: self.send(PROGRESS, task_id, context.output, line)
        return context


def forward_logs(send: Callable[[str, bytes], object], lost: Callable[[], object], levels: dict[str, int]) -> None:
    """Have log records sent to the process that has started this one, where they are handled as if made there.

    Args:
        send: Sends a message; any thread calls it.
        lost: Called where that raises OSError.
        levels: By the loggers' names.
    """
    logging.getLogger().handlers[:] = [_Forwarding(send, lost)]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class _Forwarding(QueueHandler):
    def __init__(self, send: Callable[[str, bytes], object], lost: Callable[[], object]) -> None:
        super().__init__(queue.SimpleQueue())  # not used
        self._send = send
        self._lost = lost
        self.addFilter(TaskLogFilter())  # the poller's process cannot know in which task a record was made

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            # By itself: what cannot be read at the other end must not be taken for a broken pipe.
            self._send(LOG, pickle.dumps(record))
        except OSError:
            self._lost()


def _without_output(result: TaskResult) -> TaskResult:
    # The wire has it, in JSON's types; the worker's own, and a class of results of its own, might not pickle.
    plain = TaskResult()
    for each in dataclasses.fields(TaskResult):
        if each.name != "output_data":
            setattr(plain, each.name, getattr(result, each.name))
    return plain


def main(connection: Connection[Any, Any], settings: ChildSettings) -> None:
    """Where the process begins."""
    handle_signals(_nothing)
    show_crashes()
    Child(connection, settings).main()


def handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Let SIGTERM and SIGINT through, which were blocked when the process was started, to the handler."""
    for number in SIGNALS:
        # Handled and not ignored: what a worker starts would inherit that, and could not be terminated.
        signal.signal(number, handler)
        signal.siginterrupt(number, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def show_crashes() -> None:
    """Have Python's traceback printed on stderr, if there is one, when this process crashes."""
    # Not sys.stderr, which the program's main module may have replaced by what is no file.
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Does nothing: the poller decides when this process ends."""


def _end_as_orphan() -> None:
    os._exit(_ORPHANED)
