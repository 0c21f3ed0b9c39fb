"""Warnings that a server in trouble would otherwise multiply by thousands."""

from __future__ import annotations

import logging
import time
from typing import Final

INTERVAL: Final = 10.0
"""Seconds between two warnings of the same sort."""


class Rarely:
    """The level at which to log what goes on: a warning now and then, else debug. Not thread-safe."""

    def __init__(self) -> None:
        self._next = 0.0

    def level(self) -> int:
        now = time.monotonic()
        if now < self._next:
            return logging.DEBUG
        self._next = now + INTERVAL
        return logging.WARNING
