"""The rhythm in which one looks at something on the server until it has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PAUSE = 0.05
_GROWTH = 1.5
LEAST_TO_ANSWER = 1.0
"""Seconds that the server gets for its answer to a look, even if the time is up."""


def looks(timeout: float, longest_pause: float) -> Iterator[float]:
    """Seconds that the server has for its answer, once for each look: at once, then ever less often.

    The last look is when `timeout` seconds are over. Blocks between looks.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    left = timeout
    while left > 0:
        yield max(left, LEAST_TO_ANSWER)
        left = deadline - time.monotonic()
        time.sleep(max(0.0, min(pause, left)))
        pause = min(pause * _GROWTH, longest_pause)
        left = deadline - time.monotonic()
    yield LEAST_TO_ANSWER
