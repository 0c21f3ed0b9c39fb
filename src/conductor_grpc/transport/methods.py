"""Paths of the calls that every task needs, and multicallables that carry bytes both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from conductor_grpc.transport.channel import AioChannel, Channel

_TASKS = "/conductor.grpc.tasks.TaskService/"

BATCH_POLL = _TASKS + "BatchPoll"
UPDATE_TASK = _TASKS + "UpdateTask"
GET_TASK = _TASKS + "GetTask"
ADD_LOG = _TASKS + "AddLog"


class RawUnary(Protocol):
    """One serialized request, one serialized response. Blocks. Raises ServerError."""

    def __call__(self, request: bytes, timeout: float | None = None) -> bytes: ...


class RawStream(Protocol):
    """One serialized request, serialized responses as they come. Iterating blocks and raises ServerError."""

    def __call__(self, request: bytes, timeout: float | None = None) -> Iterator[bytes]: ...


class RawAioUnary(Protocol):
    """One serialized request, one serialized response, awaited. Raises ServerError."""

    def __call__(self, request: bytes, timeout: float | None = None) -> Awaitable[bytes]: ...


def raw_unary(channel: Channel, path: str) -> RawUnary:
    """The call at `path` with bytes in and bytes out. Thread-safe; make it once and keep it."""
    return cast("RawUnary", channel.unary_unary(path))


def raw_stream(channel: Channel, path: str) -> RawStream:
    """The streaming call at `path` with bytes in and bytes out. Thread-safe; make it once and keep it."""
    return cast("RawStream", channel.unary_stream(path))


def raw_aio_unary(channel: AioChannel, path: str) -> RawAioUnary:
    """The call at `path` with bytes in and bytes out, for the channel's event loop."""
    return channel.unary_unary(path)
