"""Asking a worker's slot supplier, whatever it does."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.worker.slots.supplier import FixedSlots, SlotUse

if TYPE_CHECKING:
    from conductor_grpc.worker.interface import WorkerInterface

logger = logging.getLogger(__name__)

PEAK: Final = 10.0
"""Seconds for which a peak is remembered at least; at most twice that."""

TELL_AGAIN: Final = 60.0
"""Seconds between two errors in the log about the same supplier."""

FALLBACK: Final = 1
"""Slots that a worker has whose supplier gives no answer: it goes on, and can do no harm."""


class Allowance:
    """What the supplier of one worker grants. For one thread."""

    def __init__(self, worker: WorkerInterface) -> None:
        self._task_type = worker.task_definition_name
        self._supplier = FixedSlots(worker.concurrency) if worker.slots is None else worker.slots
        self.maximum: Final = worker.concurrency
        self.fixed: Final = isinstance(self._supplier, FixedSlots)
        """Whether the answer is always the same."""
        self.granted = min(self._supplier.count, self.maximum) if isinstance(self._supplier, FixedSlots) else FALLBACK
        """The last answer, within its bounds."""
        self._peak = self._peak_before = 0
        self._next_peak = 0.0
        self._tell_at = 0.0
        if self.maximum == 1 and not self.fixed:
            logger.warning(
                "worker %r has the slot supplier %r, which has nothing to decide since the worker's concurrency is 1:"
                " give it the most tasks that may run at a time",
                self._task_type,
                self._supplier,
            )

    def ask(self, used: int) -> int:
        """How many slots there may be, from 1 to `maximum`, while `used` are taken. Raises nothing that the supplier
        does."""
        if not self.fixed:
            use = SlotUse(self._task_type, used, self.granted, self._note_peak(used), self.maximum)
            self.granted = max(1, min(self._answer(use), self.maximum))
        return self.granted

    def _answer(self, use: SlotUse) -> int:
        try:
            answer: object = self._supplier.slots(use)
        except Exception as error:  # noqa: BLE001 - it is the user's
            self._tell(f"raised {type(error).__name__}: {error}", error)
            return FALLBACK
        if isinstance(answer, int) and not isinstance(answer, bool):
            return answer
        self._tell(f"answered {answer!r}, expected a whole number", None)
        return FALLBACK

    def _note_peak(self, used: int) -> int:
        now = time.monotonic()
        if now >= self._next_peak:
            self._peak_before, self._peak = (self._peak if now < self._next_peak + PEAK else 0), 0
            self._next_peak = now + PEAK
        self._peak = max(self._peak, used)
        return max(self._peak, self._peak_before)

    def _tell(self, what: str, error: Exception | None) -> None:
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_AGAIN
            logger.error(
                "the slot supplier %r of worker %r %s: the worker goes on with %d slot",
                self._supplier,
                self._task_type,
                what,
                FALLBACK,
                exc_info=error,
            )
