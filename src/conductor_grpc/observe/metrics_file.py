"""The metrics as a file."""

from __future__ import annotations

import errno
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.observe.exposition import text_of
from conductor_grpc.observe.process_folder import ProcessFolder
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conductor_grpc.observe.values import Values
    from conductor_grpc.poller.part import DeathHandler

logger = logging.getLogger(__name__)

RETRY_INTERVAL: Final = 1.0
"""Seconds until a disk that failed is tried again, at least."""

LAST_TURN: Final = 2.0
"""Seconds that a stopping process waits for another one to have written, so that its last values are in the file."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MetricsFile(BackgroundPart):
    """Writes the values of all processes into the file at an interval, and a last time at the end.

    One of the processes does so, the one that has the folder's lock; the others only put down their own. Should it end,
    another one takes over with its next turn. A disk that fails costs the file, which stays as it was, and a warning
    every ten seconds; the work goes on, and so does the file once the disk is well again.
    """

    def __init__(self, file: Path, interval: float, read: Callable[[], Values], on_death: DeathHandler) -> None:
        super().__init__("conductor-metrics-file", on_death)
        self.file = file
        self.failed: str | None = None
        """Why the file is not written; None if it is."""
        self._folder = ProcessFolder(file)
        self._interval = interval
        self._read = read
        self._warnings = Rarely()
        self._ended = threading.Event()

    def _run(self) -> None:
        try:
            while not self.stopping:
                self._attempt(self._write)
                self._ended.wait(self._interval if self.failed is None else max(self._interval, RETRY_INTERVAL))
            self._attempt(self._write_last)
        finally:
            self._folder.close()

    def _wake(self) -> None:
        self._ended.set()

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self.failed = f"{type(error).__name__}: {error}"
            logger.log(
                self._warnings.level(), "cannot write the metrics file %s: %s. %s", self.file, error, _remedy(error)
            )
        else:
            if self.failed is not None:
                logger.info("the metrics file %s is written again", self.file)
            self.failed = None

    def _write(self) -> bool:
        """False if another process writes the file."""
        self._folder.write(self._read())
        return self._publish()

    def _publish(self) -> bool:
        values = self._folder.gathered()
        if values is not None:
            self._folder.publish(text_of(lambda: values))
        return values is not None

    def _write_last(self) -> None:
        self._folder.write(self._read())
        self._folder.leave()
        end = time.monotonic() + LAST_TURN
        # Whoever writes the file goes on or ends as well; either way these values come in, now or at its next turn.
        while not self._publish() and time.monotonic() < end:
            time.sleep(0.01)


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "The disk is full: make room. The work goes on meanwhile"
    return "Give MetricsSettings(directory=...) a folder that this user can write to. The work goes on meanwhile"
