"""The one shape of everything that runs in the background."""

from __future__ import annotations

import abc
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    DeathHandler = Callable[[str, BaseException], None]

logger = logging.getLogger(__name__)


class BackgroundPart(abc.ABC):
    """A named thread: start, started, stop, joined.

    Subclasses implement `_run`, which returns soon after `stop`, and `_wake`, which ends its waits. Stop before
    start, double start and double stop are harmless. An exception that escapes `_run` is logged as critical and
    handed to `on_death`: a part never dies silently. All methods are thread-safe.
    """

    def __init__(self, name: str, on_death: DeathHandler) -> None:
        self.name = name
        self.started = threading.Event()
        """Set once the thread runs."""
        self._on_death = on_death
        self._stopping = threading.Event()
        self._lifecycle = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started or stopped before. Does not wait for it."""
        with self._lifecycle:
            if self._thread is not None or self._stopping.is_set():
                return
            # A daemon: where nobody drains the poller, the interpreter must still be able to exit.
            thread = threading.Thread(target=self._main, name=self.name, daemon=True)
            thread.start()  # raises where the system has no threads left; then there is nothing to join
            self._thread = thread

    def stop(self) -> None:
        """Ask the thread to end. Does not wait for it."""
        self._stopping.set()
        self._wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds (None: for ever) for the thread's end; True if it has ended."""
        with self._lifecycle:
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def alive(self) -> bool:
        with self._lifecycle:
            return self._thread is not None and self._thread.is_alive()

    @property
    def died(self) -> bool:
        """The thread has ended though nobody has stopped it."""
        return self.started.is_set() and not self.alive and not self.stopping

    def _main(self) -> None:
        self.started.set()
        try:
            self._run()
        except BaseException as error:
            logger.critical("%s died", self.name, exc_info=True)
            self._on_death(self.name, error)

    @abc.abstractmethod
    def _run(self) -> None:
        """What the thread does."""

    @abc.abstractmethod
    def _wake(self) -> None:
        """End the waits of `_run`, so that it sees that it is to stop."""
