"""What runs in the process of a slot: see `poller/slots/processes.py` for its other end.

Only what a worker needs is imported here: no gRPC, since every slot pays for it with time and memory.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import logging
import os
import pickle
import queue
import signal
import threading
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import TaskCancelledError, WorkerDefinitionError
from conductor_grpc.worker.attempt import Attempt, BigIntegers
from conductor_grpc.worker.context import Cancellation, TaskContext, running
from conductor_grpc.worker.result import TaskResult

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.task import Task

# The first part of each message. To the child:
TASK: Final = "task"
CANCEL: Final = "cancel"
END: Final = "end"
# From the child:
READY: Final = "ready"
BROKEN: Final = "broken"
OUTCOME: Final = "outcome"
GIVEN_UP: Final = "given up"
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


def pickled(worker: WorkerInterface) -> bytes:
    """
    Raises:
        WorkerDefinitionError: It cannot be pickled, so it cannot reach another process.
    """
    try:
        return pickle.dumps(worker)
    except Exception as error:
        raise WorkerDefinitionError(
            f"worker {worker.task_definition_name!r} cannot be sent to another process: {type(error).__name__}:"
            f" {error}. Define it at the top level of a module, under the name that it has there; a WorkerInterface"
            " must not keep locks, connections or open files: make them at the first task"
        ) from error


class Child:
    """The process's end of the pipe. The main thread runs tasks, another one reads."""

    def __init__(self, connection: Connection[Any, Any], settings: ChildSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._sending = threading.Lock()
        self._tasks: queue.SimpleQueue[tuple[Task, Cancellation] | None] = queue.SimpleQueue()

    def send(self, *message: object) -> None:
        with self._sending:
            self._connection.send(message)

    def main(self) -> None:
        try:
            worker: WorkerInterface = pickle.loads(self._settings.worker)
        except BaseException as error:  # noqa: BLE001 - it is user code that is imported here
            self.send(BROKEN, f"the worker cannot be loaded there: {type(error).__name__}: {error}")
            return
        self._forward_logs()  # now, since the import may have set up logging of its own
        threading.Thread(target=self._read, name="conductor-pipe", daemon=True).start()
        self.send(READY)
        while (item := self._tasks.get()) is not None:
            self._run(worker, *item)

    def _run(self, worker: WorkerInterface, task: Task, cancelled: Cancellation) -> None:
        context = TaskContext(task, cancelled)
        attempt = Attempt(task, context, self._settings.worker_id, self._settings.big_integers)
        try:
            with running(context):
                returned = worker.execute(task)
            result, wire = attempt.encode(returned)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, is a failure of this task and no more
            if isinstance(error, TaskCancelledError) and cancelled.is_set():
                self.send(GIVEN_UP)
                return
            result, wire = attempt.fail(error)
        self.send(OUTCOME, _without_output(result), wire)

    def _read(self) -> None:
        cancelled = Cancellation()
        while True:
            try:
                kind, *content = self._connection.recv()
            except (EOFError, OSError):
                # The poller is gone, even if it was killed. Nobody can take a result, and the task is or will be
                # with somebody else.
                os._exit(_ORPHANED)
            if kind == TASK:
                cancelled = Cancellation()
                self._tasks.put((content[0], cancelled))
            elif kind == CANCEL:
                cancelled.set(content[0])
            else:
                self._tasks.put(None)

    def _forward_logs(self) -> None:
        root = logging.getLogger()
        root.handlers[:] = [_Forwarding(self)]
        for name, level in self._settings.log_levels.items():
            logging.getLogger(name).setLevel(level)


class _Forwarding(QueueHandler):
    """Sends log records to the poller's process, where they are handled as if they had been made there."""

    def __init__(self, child: Child) -> None:
        super().__init__(queue.SimpleQueue())  # not used
        self._child = child

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            # By itself: what cannot be read at the other end must not be taken for a broken pipe.
            self._child.send(LOG, pickle.dumps(record))
        except OSError:
            os._exit(_ORPHANED)


def _without_output(result: TaskResult) -> TaskResult:
    # The wire has it, in JSON's types; the worker's own, and a class of results of its own, might not pickle.
    plain = TaskResult()
    for each in dataclasses.fields(TaskResult):
        if each.name != "output_data":
            setattr(plain, each.name, getattr(result, each.name))
    return plain


def main(connection: Connection[Any, Any], settings: ChildSettings) -> None:
    """Where the process begins."""
    for number in SIGNALS:
        # Handled and not ignored: what a worker starts would inherit that, and could not be terminated.
        signal.signal(number, _nothing)
        signal.siginterrupt(number, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    faulthandler.enable()
    Child(connection, settings).main()


def _nothing(number: int, frame: object) -> None:
    """Does nothing: the poller decides when this process ends."""
