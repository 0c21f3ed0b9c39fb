"""Whether a channel may be used: not after it was closed, not in a child forked after it was opened."""

from __future__ import annotations

import os
from typing import NoReturn

from conductor_grpc.errors import ClosedChannelError, ForkedChannelError

# A counter costs one comparison per call, where asking for the process id is a system call.
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Access:
    """What all calls of one channel share: where they go, how long they may take, whether they may go."""

    __slots__ = ("_forks", "closed", "target", "timeout")

    def __init__(self, target: str, timeout: float) -> None:
        self.target = target
        self.timeout = timeout
        self.closed = False
        self._forks = _forks

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened the channel."""
        return self._forks != _forks

    def check(self, path: str) -> None:
        """Raise ForkedChannelError or ClosedChannelError if `path` cannot be called any more."""
        if self.closed or self._forks != _forks:
            self.refuse(path)

    def refuse(self, path: str) -> NoReturn:
        """Raise the error that says why `path` cannot be called."""
        if self.forked:
            raise ForkedChannelError(
                f"{path} at {self.target}: this channel was opened before the process forked, and gRPC's "
                'threads stayed behind. Start processes with "spawn", or open the client in the child.'
            )
        raise ClosedChannelError(f"{path} at {self.target}: this client is closed. Open a new one.")
