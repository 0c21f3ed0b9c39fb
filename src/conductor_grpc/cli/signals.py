"""Being asked to stop, by Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from typing import Final

INTERRUPTED: Final = 130
"""The exit code that a shell calls "ended by Ctrl-C"."""

LOOK_EVERY: Final = 0.5
"""Seconds after which a wait for a signal looks again: of one that comes while the main thread is on its way into the
wait, Python knows only when that thread runs again."""


def terminate_as_interrupt() -> None:
    """From here on SIGTERM is what Ctrl-C is: KeyboardInterrupt in the main thread, so that servers stop in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
