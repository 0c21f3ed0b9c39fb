"""The synchronous channel: grpcio's own, with this package's errors.

`Stub(channel)` works, and every call made so raises a leaf of ServerError in place of grpc.RpcError, has a
deadline, and refuses to run on a closed channel or in a forked child. That is done here once; no client or
poller has to do it again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

import grpc

from conductor_grpc.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from conductor_grpc.transport.access import Access

Request = TypeVar("Request")
Response = TypeVar("Response")


class Channel(grpc.Channel):
    """A synchronous channel. Thread-safe. Closing twice is harmless; closing cancels calls in flight.

    The multicallables that it makes have the plain form of a call only: `call(request, timeout=...)`, neither
    `with_call` nor `future`. Without a timeout the configuration's `call_timeout` holds. A call raises a leaf
    of ServerError, ForkedChannelError in a child forked after it was opened, ClosedChannelError once closed.
    A stream yields what arrived before it raises.
    """

    def __init__(self, inner: grpc.Channel, access: Access) -> None:
        self._inner = inner
        self._access = access
        self._closing = threading.Lock()

    @property
    def target(self) -> str:
        """The address that the channel was opened for."""
        return self._access.target

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Request], bytes] | None = None,
        response_deserializer: Callable[[bytes], Response] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.UnaryUnaryMultiCallable[Request, Response]:
        inner = self._inner.unary_unary(method, request_serializer, response_deserializer)
        return cast("grpc.UnaryUnaryMultiCallable[Request, Response]", _Unary(inner, method, self._access))

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Request], bytes] | None = None,
        response_deserializer: Callable[[bytes], Response] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.UnaryStreamMultiCallable[Request, Response]:
        inner = self._inner.unary_stream(method, request_serializer, response_deserializer)
        return cast("grpc.UnaryStreamMultiCallable[Request, Response]", _Stream(inner, method, self._access))

    def stream_unary(self, *arguments: Any, **settings: Any) -> NoReturn:
        raise NotImplementedError("no call of the Conductor server takes a stream of requests")

    def stream_stream(self, *arguments: Any, **settings: Any) -> NoReturn:
        raise NotImplementedError("no call of the Conductor server takes a stream of requests")

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        self._inner.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self._inner.unsubscribe(callback)

    def close(self) -> None:
        """Close the connection; in a forked child leave it as it is, for it is the parent's."""
        if self._access.forked:
            self._access.closed = True
            return
        with self._closing:
            if not self._access.closed:
                self._access.closed = True
                self._inner.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Unary(Generic[Request, Response]):
    __slots__ = ("_access", "_inner", "_path")

    def __init__(self, inner: grpc.UnaryUnaryMultiCallable[Request, Response], path: str, access: Access) -> None:
        self._inner = inner
        self._path = path
        self._access = access

    def __call__(self, request: Request, timeout: float | None = None, **settings: Any) -> Response:
        credentials = self._access.security.credentials
        if credentials is None:
            return self._call(request, timeout, settings)
        self._access.check(self._path)
        return credentials.carry(lambda metadata: self._call(request, timeout, {**settings, "metadata": metadata}))

    def _call(self, request: Request, timeout: float | None, settings: dict[str, Any]) -> Response:
        access = self._access
        access.enter(self._path)
        try:
            return self._inner(request, access.timeout if timeout is None else timeout, **settings)
        except grpc.RpcError as error:
            access.check(self._path)
            raise access.error(error, self._path) from error
        except ValueError:
            # Closed by another thread since the check: grpcio says so with a bare ValueError.
            access.check(self._path)
            raise
        finally:
            access.leave()


class _Stream(Generic[Request, Response]):
    __slots__ = ("_access", "_inner", "_path")

    def __init__(self, inner: grpc.UnaryStreamMultiCallable[Request, Response], path: str, access: Access) -> None:
        self._inner = inner
        self._path = path
        self._access = access

    def __call__(self, request: Request, timeout: float | None = None, **settings: Any) -> Iterator[Response]:
        # Not itself a generator: the request goes out now, not when the caller first asks for a message.
        credentials = self._access.security.credentials
        if credentials is None:
            return self._messages(self._begin(request, timeout, settings))
        self._access.check(self._path)
        sent = credentials.obtain()
        first = self._messages(self._begin(request, timeout, {**settings, "metadata": sent}))

        def again() -> Iterator[Response]:
            return self._messages(self._begin(request, timeout, {**settings, "metadata": credentials.obtain()}))

        return self._unless_refused(first, lambda error: credentials.replace(sent, error), again)

    def _unless_refused(
        self,
        messages: Iterator[Response],
        replaced: Callable[[AuthenticationError], bool],
        again: Callable[[], Iterator[Response]],
    ) -> Iterator[Response]:
        """The messages, or those of another call if this one was refused before the first of them.

        That is no repetition of a poll: whoever refuses a token has not looked at the queue.
        """
        try:
            message = next(messages)
        except StopIteration:
            return
        except AuthenticationError as error:
            if not replaced(error):
                raise
        else:
            yield message
            yield from messages
            return
        yield from again()

    def _begin(self, request: Request, timeout: float | None, settings: dict[str, Any]) -> Iterator[Response]:
        access = self._access
        access.enter(self._path)
        try:
            return self._inner(request, access.timeout if timeout is None else timeout, **settings)
        except ValueError:
            access.check(self._path)
            raise
        finally:
            access.leave()

    def _messages(self, call: Iterator[Response]) -> Iterator[Response]:
        access = self._access
        while True:
            access.enter(self._path)
            try:
                message = next(call)
            except StopIteration:
                return
            except grpc.RpcError as error:
                access.check(self._path)
                raise access.error(error, self._path) from error
            finally:
                access.leave()
            yield message
