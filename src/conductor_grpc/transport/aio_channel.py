"""The asyncio channel: the same promises as the synchronous one, for one event loop, bytes in and bytes out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from conductor_grpc.transport.access import Access
    from conductor_grpc.transport.credentials import Metadata


class AioChannel:
    """A channel for one event loop; not thread-safe. Calls raise as those of the synchronous Channel do.

    Cancelling the task that awaits a call cancels the call: never do that to an update whose outcome matters.
    """

    def __init__(self, inner: grpc.aio.Channel, access: Access) -> None:
        self._inner = inner
        self._access = access
        # An asyncio channel has a thread inside gRPC as long as it lives.
        access.enter("open")

    @property
    def target(self) -> str:
        """The address that the channel was opened for."""
        return self._access.target

    def unary_unary(self, method: str) -> AioUnary:
        """The call at this path."""
        return AioUnary(self._inner.unary_unary(method), method, self._access)

    async def close(self, grace: float | None = None) -> None:
        """Close the connection after at most `grace` seconds for calls in flight (None: cancel them at once).

        Closing twice is harmless. In a forked child the connection stays as it is, for it is the parent's.
        """
        if not self._access.closed:
            self._access.closed = True
            if not self._access.forked:
                try:
                    await self._inner.close(grace)
                finally:
                    self._access.leave()

    async def __aenter__(self) -> AioChannel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AioUnary:
    """One call with one answer, to be awaited."""

    __slots__ = ("_access", "_inner", "_path")

    def __init__(self, inner: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], path: str, access: Access) -> None:
        self._inner = inner
        self._path = path
        self._access = access

    async def __call__(self, request: bytes, timeout: float | None = None) -> bytes:
        credentials = self._access.security.credentials
        if credentials is None:
            return await self._call(request, timeout, None)
        self._access.check(self._path)
        return await credentials.carry_async(lambda metadata: self._call(request, timeout, metadata))

    async def _call(self, request: bytes, timeout: float | None, metadata: Metadata | None) -> bytes:
        access = self._access
        access.check(self._path)
        timeout = access.timeout if timeout is None else timeout
        try:
            return await self._inner(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise access.error(error, self._path) from error
        except asyncio.CancelledError:
            _refuse_if_closed(access, self._path)
            raise


def _refuse_if_closed(access: Access, path: str) -> None:
    """Tell a channel closed under a call from the cancellation of the task that awaits it.

    grpcio says "cancelled" for both. Passed on, the former would end the caller's loop without a word.
    (Python 3.10 cannot tell; there the closed channel wins.)
    """
    task = asyncio.current_task()
    cancelling: Callable[[], int] | None = getattr(task, "cancelling", None)
    if access.closed and not (cancelling is not None and cancelling()):
        access.refuse(path)
