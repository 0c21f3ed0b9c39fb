"""Whether a channel may be used: not after it was closed, and not across a fork.

gRPC's threads do not survive a fork, and its poll set is shared by parent and child. A child that uses an inherited
channel takes the parent's answers off the wire. A child that opens a channel of its own is well as long as no
thread of the parent was inside gRPC at the moment of the fork; otherwise it hangs or aborts, and with grpcio 1.76
the *parent* may crash too. So both are refused, by two counters that cost next to nothing per call.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NoReturn

from conductor_grpc.errors import ClosedChannelError, ForkedChannelError
from conductor_grpc.transport.classify import from_rpc_error
from conductor_grpc.transport.security import Security

if TYPE_CHECKING:
    import grpc

    from conductor_grpc.errors import ServerError

# A counter costs one comparison per call, where asking for the process id is a system call.
_forks = 0

# Entries into gRPC and returns from it, of all threads. Stepping a counter is atomic, `+= 1` is not.
_entered = itertools.count()
_returned = itertools.count()

_forked_inside_grpc = False


def _after_fork_in_child() -> None:
    global _forks, _entered, _returned, _forked_inside_grpc
    _forks += 1
    _forked_inside_grpc |= next(_entered) != next(_returned)
    _entered, _returned = itertools.count(), itertools.count()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Access:
    """What all calls of one channel share: where they go, how long they may take, whether they may go."""

    __slots__ = ("_forks", "closed", "security", "target", "timeout")

    def __init__(self, target: str, timeout: float, security: Security | None = None) -> None:
        """Raises ForkedChannelError in a process that cannot use gRPC because of how it was forked."""
        if _forked_inside_grpc:
            raise ForkedChannelError(
                f"{target}: this process was forked while gRPC calls were running, and gRPC cannot be used in "
                'it. Start processes with "spawn", or fork before the first worker or client is started.'
            )
        self.target = target
        self.timeout = timeout
        self.security = security or Security()
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

    def enter(self, path: str) -> None:
        """Check, and count this thread as being inside gRPC until `leave`."""
        if self.closed or self._forks != _forks:
            self.refuse(path)
        next(_entered)

    def leave(self) -> None:
        """The thread that entered has returned."""
        if self._forks == _forks:
            next(_returned)

    def error(self, error: grpc.RpcError, path: str) -> ServerError:
        """The error of this package for a call of `path` that failed, to be raised `from` it."""
        return from_rpc_error(error, path, self.target, self.security)

    def refuse(self, path: str) -> NoReturn:
        """Raise the error that says why `path` cannot be called."""
        if self.forked:
            raise ForkedChannelError(
                f"{path} at {self.target}: this channel was opened before the process forked, and gRPC's "
                'threads stayed behind. Start processes with "spawn", or open the client in the child.'
            )
        raise ClosedChannelError(f"{path} at {self.target}: this client is closed. Open a new one.")
