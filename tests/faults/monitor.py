"""Tasks that the server takes for running and that nobody runs."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.ledger import Ledger
    from faults.load import Work

EVERY: Final = 0.5
TOO_LONG: Final = 10.0
"""Seconds after which a task that waits for nothing is stranded."""


class Monitor:
    """Looks again and again at what the server and the ledger say. Context manager.

    A task is idle from the first look at which the server has it IN_PROGRESS and no living worker is in the middle
    of it: handed out and not begun, begun in a process that is gone, or finished without the server knowing. Idle
    for more than `too_long` seconds, it is stranded. While a fault lasts (`excused`) nobody can do anything, and it
    does not count; it counts from the end of the fault.
    """

    def __init__(self, work: Work, ledger: Ledger, alive: Callable[[], set[int]], too_long: float = TOO_LONG) -> None:
        """`alive` are the pids of workers that are there."""
        self._work = work
        self._ledger = ledger
        self._alive = alive
        self._too_long = too_long
        self._idle: dict[str, float] = {}
        self._excuses = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.longest: dict[str, float] = {}
        """Seconds for which each task was idle, if too long."""
        self.worst = 0.0
        """Seconds for which any task was idle."""
        self.looks = 0

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        with self._lock:
            self._excuses += 1
        try:
            yield
        finally:
            with self._lock:
                self._excuses -= 1
                self._idle = dict.fromkeys(self._idle, time.monotonic())

    def _run(self) -> None:
        while not self._ending.wait(EVERY):
            before = time.monotonic()
            try:
                given_out = self._work.in_progress()
            except (OSError, ServerError, ValueError):
                continue  # down, or on its way there: the fault itself
            self._look(given_out, before)

    def _look(self, given_out: set[str], before: float) -> None:
        self._ledger.update()
        alive = self._alive()
        running = {run.task_id for run in list(self._ledger.running.values()) if run.pid in alive}
        now = time.monotonic()
        with self._lock:
            self.looks += 1
            # Not idle all the while if it was begun between two looks.
            fresh = {
                run.task_id for run in list(self._ledger.executions.values())[-2000:] if run.began > before - EVERY
            }
            idle = given_out - running - fresh
            self._idle = {task_id: self._idle.get(task_id, now) for task_id in idle}
            if self._excuses:
                return
            for task_id, since in self._idle.items():
                self.worst = max(self.worst, now - since)
                if now - since > self._too_long:
                    self.longest[task_id] = now - since
