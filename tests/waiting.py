"""Waiting for processes, and for states that tell nobody when they change."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look at a state, of the server or of another process, until it holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def end_of(pid: int) -> Iterator[select.poll]:
    """A poll object that is ready once the process has ended, whoever's child it is."""
    descriptor = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        yield ended
    finally:
        os.close(descriptor)
