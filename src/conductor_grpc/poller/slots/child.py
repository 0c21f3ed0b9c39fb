"""One process that runs tasks, seen from the poller."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.spawned import START_TIMEOUT, ChildEnded, SpawnedProcess
from conductor_grpc.worker import child_process

if TYPE_CHECKING:
    from conductor_grpc.poller.slots.run import Outcome, Run
    from conductor_grpc.worker.child_process import ChildSettings
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

_LOOK: Final = 0.05
"""Seconds after which a wait for its end looks whether its thread still uses it."""


class Child(SpawnedProcess):
    """A process, started at once. One thread runs tasks; `end`, `kill`, `wait` and `close` are for any."""

    def __init__(self, name: str, settings: ChildSettings) -> None:
        super().__init__(child_process.main, settings, name, f"worker {name!r}")
        self._watches = False
        self._told_stopping = False

    def wait_ready(self) -> None:
        """Wait until it can take tasks.

        Raises:
            ChildEnded: It cannot, and was killed if it has not ended by itself.
        """
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
        """Run one task; None if it was given up. A cancelled one gets `grace` seconds, then the process is killed.

        Raises:
            ChildEnded: The process has ended before the task.
        """
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
        if not self._watches:  # once, for it is the same for all tasks of a slot
            self._watches = True
            stopping.call_when_set(self.wake)
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
        """Ask it to end, unless it runs a task. Never blocks for long."""
        with self._lock:
            if self._open and not self._busy:
                with contextlib.suppress(OSError):
                    self._connection.send((child_process.END,))

    def last_words(self, deadline: float) -> list[str]:
        """Hear what it says until it has ended, or until `deadline`, by the monotonic clock; it was asked to end.
        Blocks. Returns which resources it could not close, in words."""
        errors: list[str] = []
        with contextlib.suppress(ChildEnded):
            while (left := deadline - time.monotonic()) > 0 and not (self._busy and self.wait(min(left, _LOOK))):
                message = None if self._busy else self.receive(left)
                if message is not None and message[0] == child_process.CLOSED:
                    errors += [f"{self}: {error}" for error in message[1]]
        return errors


def _note_progress(run: Run, task_id: str, output: dict[str, object] | None, line: str) -> None:
    # What comes from a thread that an earlier task has left behind is not this one's.
    if task_id != run.held.task_id:
        return
    run.context.output = output
    if run.context.report is not None:
        run.context.report(line)
