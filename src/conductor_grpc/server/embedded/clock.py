"""The engine's time: real time, which a test can move on, and the thread that keeps appointments."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from conductor_grpc.poller.part import BackgroundPart

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.server.embedded.engine.alarms import Alarms

logger = logging.getLogger(__name__)

_FURTHEST: Final = 100 * 366 * 86_400
"""Seconds that the clock moves on at most in one step: beyond, times would not fit where they are sent."""


class _Schedule(NamedTuple):
    alarms: Alarms
    fire: Callable[[str], None]


class Clock:
    """Milliseconds since 1970: real time, and as much as it was moved on. Thread-safe.

    Alarms that are attached fire one after the other under `lock`, the earliest first: in real time by an
    `AlarmThread`, and in `advance`.
    """

    _RETRY_AFTER: Final = 30_000
    """Milliseconds until an alarm that failed fires again, as the released server looks again at a workflow then."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while an alarm fires and while the time moves on: the lock of whoever attaches alarms."""
        self.changed = threading.Condition(self.lock)
        """Notified when an alarm has become the next one."""
        self._offset = 0
        self._standing_at: int | None = None
        self._schedules: list[_Schedule] = []

    def now(self) -> int:
        """The time in milliseconds since 1970. Does not block."""
        standing_at = self._standing_at
        return time.time_ns() // 1_000_000 + self._offset if standing_at is None else standing_at

    def attach(self, alarms: Alarms, fire: Callable[[str], None]) -> None:
        """Have `fire(key)` called, under `lock`, when an alarm is due; its alarm is cleared before.

        If it raises, that is logged with its traceback, and the alarm is set again for half a minute later.
        """
        with self.lock:
            self._schedules.append(_Schedule(alarms, fire))
            alarms.on_earlier = self.changed.notify

    def advance(self, seconds: float) -> None:
        """Move the time on. What is due on the way has happened, in order, when this returns.

        Time stands still meanwhile: while an alarm fires it is exactly the time that the alarm was set to. Holds
        `lock` all the time, so nothing else happens on the way, and advances by several threads come one after the
        other. Raises ValueError for a number of seconds that is negative or none at all.
        """
        if not (math.isfinite(seconds) and 0 <= seconds <= _FURTHEST):
            raise ValueError(f"advance({seconds!r}): expected a number of seconds from 0 to {_FURTHEST} (100 years)")
        with self.lock:
            self._standing_at = self.now()
            end = self._standing_at + round(seconds * 1000)
            try:
                while (due := self.next_due()) is not None and due <= end:
                    self._standing_at = max(self._standing_at, due)
                    self.fire_next()
                self._standing_at = end
            finally:
                self._offset = self._standing_at - time.time_ns() // 1_000_000
                self._standing_at = None
                self.changed.notify()

    def next_due(self) -> int | None:
        """When the next alarm is due; None if there is none. Call it under `lock`."""
        return min((at for each in self._schedules if (at := each.alarms.earliest()) is not None), default=None)

    def fire_next(self) -> bool:
        """Fire the alarm that is due first; False if none is due yet. Raises nothing."""
        with self.lock:
            now, due = self.now(), self.next_due()
            if due is None or due > now:
                return False
            schedule = next(each for each in self._schedules if each.alarms.earliest() == due)
            key = schedule.alarms.pop_due(now)
            assert key is not None, "it is due"
            self._fire(schedule, key, now)
            return True

    def _fire(self, schedule: _Schedule, key: str, now: int) -> None:
        alarms = schedule.alarms
        try:
            schedule.fire(key)
        except Exception:
            logger.exception("the alarm of %s failed; again in %g s", key, self._RETRY_AFTER / 1000)
            if (alarms.at(key) or 0) <= now:  # else what it was set to before it failed may come first
                alarms.clear(key)
            alarms.bring_forward(key, now + self._RETRY_AFTER)
        again = alarms.at(key)
        if again is not None and again <= now:
            # One that is due again at once would never let the time go on.
            alarms.set(key, now + 1)


class AlarmThread(BackgroundPart):
    """Fires a clock's alarms in real time."""

    _LONGEST_WAIT: Final = 10.0
    """Seconds. A wait does not see that somebody sets the machine's clock, or that it was asleep."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("embedded-server-alarms", on_death=lambda *_: None)
        self._clock = clock

    def _run(self) -> None:
        while not self.stopping:
            if not self._clock.fire_next():
                self._wait()

    def _wait(self) -> None:
        with self._clock.lock:
            due = self._clock.next_due()
            seconds = self._LONGEST_WAIT if due is None else (due - self._clock.now()) / 1000
            if seconds > 0 and not self.stopping:
                self._clock.changed.wait(min(seconds, self._LONGEST_WAIT))

    def _wake(self) -> None:
        with self._clock.lock:
            self._clock.changed.notify()
