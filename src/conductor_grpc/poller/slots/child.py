"""One process that runs tasks, seen from the poller."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.spawned import START_TIMEOUT, ChildEnded, SpawnedProcess
from conductor_grpc.worker import child_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.slots.run import Outcome, Run
    from conductor_grpc.worker.child_process import ChildSettings
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

DEATH_GRACE: Final = 2.0
"""Seconds in which a process that was killed must have ended."""

_LOOK: Final = 0.05
"""Seconds after which a wait for its end looks whether its thread still uses it, and whether there is time left."""


class Child(SpawnedProcess):
    """A process, started at once. One thread runs tasks; `end`, `kill`, `wait` and `close` are for any."""

    def __init__(self, name: str, settings: ChildSettings) -> None:
        super().__init__(child_process.main, settings, name, f"worker {name!r}")
        self._busy = True  # until it is ready
        self._ending = False
        self._told_stopping = False

    def wait_ready(self) -> None:
        """Wait until it can take tasks.

        Raises:
            ChildEnded: It cannot, and was killed if it has not ended by itself.
        """
        try:
            self._wait_ready()
        finally:
            self._busy = False

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while (left := deadline - time.monotonic()) > 0:
            message = self.receive(left)
            if message is None:
                continue
            if message[0] == child_process.READY:
                return
            self.kill()
            raise ChildEnded(f"was given up: {message[1]}")
        self.kill()
        raise ChildEnded(f"was killed since it was not ready after {START_TIMEOUT:.0f} s")

    def run(self, run: Run, task: Task, grace: float) -> Outcome | None:
        """Run one task; None if it was given up, or the process was asked to end before. A cancelled one gets `grace`
        seconds, then the process is killed.

        Raises:
            ChildEnded: The process has ended before the task.
        """
        with self._lock:
            if self._ending:  # and another thread listens to it
                return None
            self._busy = True
        try:
            return self._run(run, task, grace)
        except ChildEnded:
            raise
        except BaseException:
            self.kill()  # what it says from now on would be taken for the next task's
            raise
        finally:
            self._busy = False

    def _run(self, run: Run, task: Task, grace: float) -> Outcome | None:
        run.cancelled.call_when_set(self.wake)
        stopping = run.context.stopping
        lease = run.lease
        if lease is not None:
            lease.when_extended = self.wake
        lease_ends = None if lease is None else lease.ends
        self.send(child_process.TASK, task, lease_ends)
        kill_at: float | None = None
        killed = False
        while True:
            if run.cancelled.is_set() and kill_at is None:
                self.send(child_process.CANCEL, run.cancelled.reason)
                kill_at = time.monotonic() + grace
            if stopping.is_set() and not self._told_stopping:
                self._told_stopping = True
                self.send(child_process.STOPPING, stopping.reason)
            if lease is not None and (ends := lease.ends) != lease_ends:
                lease_ends = ends
                self.send(child_process.LEASE, ends)
            left = None if kill_at is None or killed else max(0.0, kill_at - time.monotonic())
            if left == 0.0:
                logger.warning("%s is killed: task %s was cancelled %g s ago", self, run.held.task_id, grace)
                self.kill()
                killed = True
                continue
            message = self.receive(left)
            if message is None:
                continue
            if message[0] == child_process.PROGRESS:
                _note_progress(run, *message[1:])
                continue
            if message[0] == child_process.GIVEN_UP:
                run.cancelled.set(message[1])  # if its poller stops, that was decided there
                return None
            return message[1], message[2]

    def end(self) -> None:
        """Ask it to end, unless it runs a task or is not ready yet. Never blocks for long."""
        with self._lock:
            if self._open and not self._busy and not self._ending:
                self._ending = True
                with contextlib.suppress(OSError):
                    self._connection.send((child_process.END,))

    def last_words(self, left: Callable[[], float]) -> list[str]:
        """Hear what it says until it has ended, which it was asked to do; it is killed when `left`, in seconds, is 0.
        Blocks. Returns which resources it could not close, in words."""
        errors: list[str] = []
        with contextlib.suppress(ChildEnded):
            while (seconds := left()) > 0:
                errors += self._hear(min(seconds, _LOOK))
            if not self.wait(0):
                logger.warning("%s has not ended and is killed", self)
                self.kill()
            # What it has said before may still be in the pipe.
            dead_by = time.monotonic() + DEATH_GRACE
            while time.monotonic() < dead_by:
                errors += self._hear(_LOOK)
        return errors

    def _hear(self, seconds: float) -> list[str]:
        self.end()  # which it was not if it was busy
        with self._lock:
            listens = self._open and not self._busy
            self._busy |= listens
        if not listens:  # its own thread does
            if self.wait(seconds):
                raise ChildEnded(self.ending())
            return []
        try:
            message = self.receive(seconds)
        finally:
            self._busy = False
        if message is None or message[0] != child_process.CLOSED:
            return []
        return [f"{self}: {error}" for error in message[1]]


def _note_progress(run: Run, task_id: str, output: dict[str, object] | None, line: str) -> None:
    # What comes from a thread that an earlier task has left behind is not this one's.
    if task_id != run.held.task_id:
        return
    run.context.output = output
    if run.context.report is not None:
        run.context.report(line)
