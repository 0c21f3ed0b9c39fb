"""Lines about the progress of running tasks, on their way to the tasks' logs."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ClosedChannelError, ServerError
from conductor_grpc.pb.services.task_service_pb2 import AddLogRequest
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely

if TYPE_CHECKING:
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.transport.methods import RawUnary

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two lines of one task: somebody is to read them, and the server keeps them all."""

LINES_PER_SECOND: Final = 20
"""Most lines, over all workers of a poller."""

WAITING: Final = 1_000
"""Tasks whose lines may wait. Beyond it the one that has waited longest is left out."""

TIMEOUT: Final = 5.0
"""Seconds that the server has for a line. The next one is the newer one."""


class ProgressLog(BackgroundPart):
    """Sends the newest line of each task by AddLog, which alone shows while a task runs: an update would put the task
    back on its queue, and an extension carries nothing.

    Its thread, which the first line starts, has nothing to do with the outbox, so no result waits for a line. One that
    fails is not repeated.
    """

    def __init__(self, add_log: RawUnary, on_death: DeathHandler) -> None:
        super().__init__("conductor-progress", on_death)
        self._add_log = add_log
        self._changed = threading.Condition()
        self._lines: dict[str, str] = {}
        self._next: dict[str, float] = {}
        self._failures = Rarely()

    def put(self, task_id: str, line: str) -> None:
        """Send this line, in the place of any of this task that still waits. Thread-safe, never blocks long. After
        `stop` it is left out."""
        with self._changed:
            if self.stopping:
                return
            if len(self._lines) >= WAITING and task_id not in self._lines:
                del self._lines[next(iter(self._lines))]
            self._lines[task_id] = line
            self._changed.notify()
        try:
            self.start()
        except RuntimeError as error:  # the system has no more threads; the next line tries again
            logger.log(self._failures.level(), "the progress of task %s cannot be shown: %s", task_id, error)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while (due := self._next_due()) is not None:
            self._send(*due)
            self._stopping.wait(1 / LINES_PER_SECOND)

    def _next_due(self) -> tuple[str, str] | None:
        """A task and its line, which waits no more. Blocks until there is one; None once this is to stop."""
        with self._changed:
            while not self.stopping:
                now = time.monotonic()
                self._next = {task_id: then for task_id, then in self._next.items() if then > now}
                task_id = next((each for each in self._lines if each not in self._next), None)
                if task_id is not None:
                    self._next[task_id] = now + INTERVAL
                    return task_id, self._lines.pop(task_id)
                soonest = min((self._next[each] for each in self._lines), default=None)
                self._changed.wait(None if soonest is None else soonest - now)
        return None

    def _send(self, task_id: str, line: str) -> None:
        try:
            self._add_log(AddLogRequest(task_id=task_id, log=line).SerializeToString(), TIMEOUT)
        except ServerError as error:
            logger.log(self._failures.level(), "the progress of task %s is not shown: %s", task_id, error)
        except ClosedChannelError:
            if not self.stopping:
                raise
            logger.debug("the stop did not wait for a line of progress")
