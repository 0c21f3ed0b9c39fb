"""An event loop that lets answers gather while many are awaited.

Most of what an acknowledgement costs the client is the waking of threads: of gRPC's when the answer's bytes arrive,
then of the event loop's. An answer every two milliseconds costs all of that each time. Where the loop sleeps for a
moment first, one wake-up serves several answers, at two thirds of the CPU per task in all (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NAP: Final = 0.01
"""Seconds; the most by which a nap delays an update. Slots are free by then, so nothing else waits for it."""


class PatientSelector(selectors.DefaultSelector):
    """Before it blocks, sleeps for a moment if `crowded()`: the server has enough to do meanwhile."""

    def __init__(self, crowded: Callable[[], bool]) -> None:
        super().__init__()
        self._crowded = crowded

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # gRPC signals each event by a byte of its own, so what is here already must be taken without a nap.
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._crowded():
            time.sleep(NAP if timeout is None else min(NAP, timeout))
            timeout = None if timeout is None else max(0.0, timeout - NAP)
        return super().select(timeout)


def run_patiently(main: Callable[[], Any], crowded: Callable[[], bool]) -> None:
    """Run the coroutine that `main()` gives, in this thread, on a loop of its own. Blocks until it ends."""
    loop = asyncio.SelectorEventLoop(PatientSelector(crowded))
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
