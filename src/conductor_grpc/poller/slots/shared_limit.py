"""One limit on the tasks that run at a time, over all workers of a poller."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class SharedLimit:
    """At most `limit` slots are held at once, by whichever workers; those that want one are served in turn.

    A worker holds one for each task that runs and for each that a poll without a wait may bring. A poll that waits for
    a lone task holds none, or idle workers would keep all of them from the others. So its task may come when no slot
    is left, and then waits for one.

    All of it, and the slots of all its workers, is under one lock: a slot that one worker gives back can begin a task
    of another without a lock being taken within another.
    """

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.lock: Final = threading.Lock()
        self._free = limit
        self._queue: deque[Share] = deque()

    @property
    def free(self) -> int:
        return self._free

    def share(self, wanted: Callable[[], int], given: Callable[[], None]) -> Share:
        """A worker's part. With the lock held, `wanted` tells how many slots it wants to hold in all at that moment,
        and `given` is called when one of those that it has waited for is there; neither may take or give back any."""
        return Share(self, wanted, given)

    def take(self, share: Share, count: int) -> None:
        """`Share.raise_to`."""
        # Whoever comes finds some free only while nobody waits, see _serve.
        taken = min(count, self._free)
        self._free -= taken
        share.held += taken
        if taken < count and share not in self._queue:
            self._queue.append(share)

    def give_back(self, share: Share, count: int) -> None:
        """`Share.lower_to`."""
        share.held -= count
        self._free += count
        self._serve()

    def _serve(self) -> None:
        """One slot each in turn, until there are none left or nobody wants one."""
        while self._free and self._queue:
            share = self._queue.popleft()
            if share.wanted() <= share.held:
                continue  # it did when it came
            self._free -= 1
            share.held += 1
            share.given()
            if share.wanted() > share.held:
                self._queue.append(share)


class Share:
    """What one worker has of a shared limit; the lock is held at each call."""

    def __init__(self, limit: SharedLimit, wanted: Callable[[], int], given: Callable[[], None]) -> None:
        self.limit: Final = limit
        self.wanted: Final = wanted
        self.given: Final = given
        self.held = 0
        """Slots in this worker's hands."""

    def raise_to(self, count: int) -> None:
        """Hold `count` slots, or as many of them as there are now. For the others this waits in the queue, as long as
        they are wanted."""
        if count > self.held:
            self.limit.take(self, count - self.held)

    def lower_to(self, count: int) -> None:
        """Give back what is held beyond `count`."""
        if count < self.held:
            self.limit.give_back(self, self.held - count)
