"""Waiting for a run to get somewhere, in the rhythm of a server that answers in a millisecond."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds until an assertion gives up."""

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05
_GROWTH: Final = 1.5


def chances(timeout: float) -> Iterator[bool]:
    """True for each look: at once, then ever less often; at last, once `timeout` seconds are over, False for the
    one that decides. Blocks between them.
    """
    end = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while (left := end - time.monotonic()) > 0:
        yield True
        time.sleep(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    yield False
