"""What is counted while a poller works, for whoever asked for metrics: plain numbers, read by others at any time."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from conductor_grpc.worker.status import TaskResultStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor_grpc.poller.outbox_updates import Update
    from conductor_grpc.poller.slots import Outcome, Run

SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, the same in all SDKs of Conductor, so that dashboards carry over."""

BYTES: Final = (100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0)

REST_PATHS: Final = ("/tasks/poll/batch/{taskType}", "/tasks/{taskId}", "/admin/task/{taskType}", "/version")

CANCELLED: Final = "TaskCancelledError"
"""How a task is counted that its worker has given up."""


class Reading(NamedTuple):
    """A histogram at one moment."""

    counts: list[int]
    """For each bound how many values were not above it, but above the one before; last, those above all bounds."""
    total: float
    """The sum of the values."""


class Histogram:
    """Counts values by buckets. Thread-safe; 0.2 us for a value."""

    __slots__ = ("_bounds", "_counts", "_lock", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._total += value

    def read(self) -> Reading:
        with self._lock:
            return Reading(self._counts.copy(), self._total)


class Times:
    """How long a kind of call took, apart for those that succeeded and those that failed, and why these did."""

    __slots__ = ("_lock", "errors", "failed", "succeeded")

    def __init__(self) -> None:
        self.succeeded, self.failed = Histogram(SECONDS), Histogram(SECONDS)
        self.errors: Counter[str] = Counter()
        """By the name of the exception's class, of which there are few; its text may be another one each time."""
        self._lock = threading.Lock()

    def observe(self, seconds: float, error: str | None) -> None:
        if error is None:
            self.succeeded.observe(seconds)
            return
        self.failed.observe(seconds)
        with self._lock:
            self.errors[error] += 1


class WorkerMeasures:
    """Of one worker."""

    def __init__(self, task_type: str) -> None:
        self.task_type = task_type
        self.polls = Times()
        self.executions = Times()
        self.result_bytes = Histogram(BYTES)

    def polled(self, began: float, error: Exception | None) -> None:
        """A poll has ended that began then, by the monotonic clock."""
        self.polls.observe(time.monotonic() - began, None if error is None else type(error).__name__)

    def executed(self, run: Run, outcome: Outcome | None) -> None:
        """A worker is done with a task."""
        seconds = time.monotonic() - run.begun
        if outcome is None:
            self.executions.observe(seconds, CANCELLED)
            return
        result, wire = outcome
        failed = result.status is not TaskResultStatus.COMPLETED and result.status is not TaskResultStatus.IN_PROGRESS
        # Where no exception has failed it, the worker itself has said so.
        self.executions.observe(seconds, (result.raised or str(result.status)) if failed else None)
        self.result_bytes.observe(len(wire))


class Measures:
    """Of one poller."""

    def __init__(self) -> None:
        self.workers: list[WorkerMeasures] = []
        self.updates: dict[str, Times] = {}
        """By task type; of the attempts to send an update."""
        self.rest: dict[tuple[str, str, str], Histogram] = {}
        """By method, path (with a placeholder for what is another one each time) and HTTP status; calls over REST."""
        self._lock = threading.Lock()

    def worker(self, task_type: str) -> WorkerMeasures:
        """New ones, for one more worker of this type."""
        measures = WorkerMeasures(task_type)
        self.workers.append(measures)
        return measures

    def rest_called(self, method: str, path: str, seconds: float, status: int) -> None:
        """A call over REST has ended."""
        known = next((template for template in REST_PATHS if path.startswith(template.partition("{")[0])), "other")
        with self._lock:
            histogram = self.rest.setdefault((method, known, str(status)), Histogram(SECONDS))
        histogram.observe(seconds)

    def sent(self, update: Update, began: float, error: Exception | None) -> None:
        """An attempt to send an update, begun then by the monotonic clock, has ended. On the outbox's thread only."""
        task_type = update.task.task_def_name
        times = self.updates.get(task_type)
        if times is None:
            times = self.updates[task_type] = Times()
        times.observe(time.monotonic() - began, None if error is None else type(error).__name__)
