"""What runs in one process of a handler: a poller, while the handler lives. See `seat.py` for its other end."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import ConductorError, PollerError, WorkerDefinitionError
from conductor_grpc.poller.drain import HURRY_GRACE
from conductor_grpc.poller.spawned import pidfd_open
from conductor_grpc.poller.task_poller import TaskPoller
from conductor_grpc.worker.child_process import forward_logs, handle_signals, show_crashes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType

    from conductor_grpc.poller.drain import DrainReport

logger = logging.getLogger(__name__)

# The first part of each message. To the process:
GO: Final = "go"
"""Poll. Not before all processes of a handler can, for none shall take tasks when another one cannot even begin."""
STOP: Final = "stop"
"""Drain, with so many seconds left; again: with no more than so many."""
# From the process; LOG is that of worker/child_process.py:
LOADED: Final = "loaded"
BROKEN: Final = "broken"
READY: Final = "ready"
BEAT: Final = "beat"
REPORT: Final = "report"

BEAT_INTERVAL: Final = 1.0
"""Seconds between two words of a process about its health."""

UNSENT: Final = 1
"""Exit code of a process that could not send everything, or whose poller died."""


@dataclass(frozen=True)
class ChildSettings:
    """What a process needs to know before it polls. The pickles may be impossible to load there, which it says."""

    worker: bytes = field(repr=False)
    options: dict[str, object]
    """Attributes that the worker gets there: one that is pickled by its name has those of its definition."""
    poller: bytes = field(repr=False)
    """The keyword arguments of its TaskPoller; among them may be secrets."""
    log_levels: dict[str, int]
    handler: int
    """The process id of the handler."""


class Child:
    """The process's end of the pipe. The main thread starts the poller and waits for its end, another one reads."""

    def __init__(self, pipe: Connection[Any, Any], settings: ChildSettings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._sending = threading.Lock()
        self._lifecycle = threading.Lock()
        self._go = threading.Event()
        self._poller: TaskPoller | None = None
        """Set once it is started, or about to be."""
        self._ended = threading.Event()
        self._stopped = False
        self._orphaned = False
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def send(self, *message: object) -> None:
        """Raises OSError: The handler is gone."""
        with self._sending:
            self._pipe.send(message)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """A terminal, and a service manager, sends it to the handler too, which decides. An orphan heeds it."""
        del frame
        self._signals.put(number)

    def main(self) -> int:
        """Poll until the handler says stop, or is gone; the exit code."""
        threading.Thread(target=self._read, name="conductor-handler", daemon=True).start()
        try:
            poller = self._load()
        except BaseException as error:  # noqa: BLE001 - it is user code that is imported here
            return self._broken(error)
        # Now, since the import may have set up logging of its own.
        forward_logs(self.send, self._log_here, self._settings.log_levels)
        self._tell(LOADED)
        self._go.wait()
        with self._lifecycle:  # a stop from now on is the poller's
            self._poller = poller
        try:
            poller.start()
        except BaseException as error:  # noqa: BLE001 - told, and the process ends
            return self._end(poller) if self._stopped else self._broken(error)
        self._tell(READY)
        threading.Thread(target=self._beat, args=(poller,), name="conductor-beat", daemon=True).start()
        return self._end(poller)

    def _load(self) -> TaskPoller:
        try:
            worker = pickle.loads(self._settings.worker)
            arguments = pickle.loads(self._settings.poller)
        except BaseException as error:
            raise WorkerDefinitionError(f"it cannot be loaded there: {type(error).__name__}: {error}") from error
        for name, value in self._settings.options.items():
            setattr(worker, name, value)
        return TaskPoller([worker], **arguments)

    def _broken(self, error: BaseException) -> int:
        logger.debug("the process cannot poll", exc_info=error)
        told = error if isinstance(error, ConductorError) else PollerError(f"{type(error).__name__}: {error}")
        self._tell(BROKEN, pickle.dumps(told))
        return UNSENT

    def _end(self, poller: TaskPoller) -> int:
        failure: str | None = None
        try:
            poller.join()
        except PollerError as error:
            failure = str(error)
        report = poller.stop()
        self._ended.set()
        self._tell(REPORT, report, failure)
        if self._orphaned:
            self._end_orphan(report)
        return UNSENT if failure is not None else report.exit_code

    def _beat(self, poller: TaskPoller) -> None:
        self._tell(BEAT, poller.health())
        while not self._ended.wait(BEAT_INTERVAL):
            self._tell(BEAT, poller.health())

    def _tell(self, *message: object) -> None:
        # Without a handler there is nobody to tell, which the reading thread has found out by then, or will.
        with contextlib.suppress(OSError):
            self.send(*message)

    def _read(self) -> None:
        try:
            while True:
                self._wait_for_message()
                kind, *content = self._pipe.recv()
                if kind == GO:
                    self._go.set()
                else:
                    self._stop(content[0])
        except (EOFError, OSError):
            self._become_orphan()

    def _wait_for_message(self) -> None:
        """Raises EOFError if there will be none: the handler has ended, even if a process that it has forked holds
        its end of the pipe."""
        with contextlib.ExitStack() as stack:
            awaited: list[Any] = [self._pipe]
            with contextlib.suppress(OSError):
                watched = pidfd_open(self._settings.handler)
                stack.callback(os.close, watched)
                awaited.append(watched)
            if os.getppid() != self._settings.handler:
                raise EOFError  # perhaps that was another process of the same number
            if self._pipe not in connection.wait(awaited):
                raise EOFError

    def _stop(self, seconds: float | None) -> None:
        with self._lifecycle:
            if self._poller is None:
                os._exit(0)  # it has taken nothing, and the import may take its time
        self._stopped = True
        # On a thread of its own, which waits for the end, while this one is told that it shall be sooner.
        threading.Thread(target=self._poller.stop, args=(seconds,), name="conductor-stop", daemon=True).start()

    def _become_orphan(self) -> None:
        """The handler is gone, even if it was killed. What runs gets the same time as when it is stopped; nothing new
        is taken, for nobody would stop that."""
        self._orphaned = True
        self._log_here()
        if self._poller is None:
            os._exit(0)
        logger.warning("the handler, process %d, is gone: process %d drains", self._settings.handler, os.getpid())
        while not self._signals.empty():  # those before were for the handler
            self._signals.get()
        self._stop(None)
        self._signals.get()
        self._stop(HURRY_GRACE)
        self._signals.get()
        self._stop(0)

    def _log_here(self) -> None:
        if not any(isinstance(each, logging.StreamHandler) for each in logging.getLogger().handlers):
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(processName)s %(levelname)s %(name)s: %(message)s"))
            logging.getLogger().handlers[:] = [handler]

    def _end_orphan(self, report: DrainReport) -> None:
        logger.warning("process %d ends without its handler; %s", os.getpid(), report)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.flush()
        os._exit(UNSENT)  # there is nobody who would end it if a thread of the worker's did not


def main(pipe: Connection[Any, Any], settings: ChildSettings) -> None:
    """Where the process begins."""
    child = Child(pipe, settings)
    handle_signals(child.on_signal)
    show_crashes()
    sys.exit(child.main())
