"""What the four clients share: a channel, the calls of one service over it, their ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from conductor_grpc.configuration import configured
from conductor_grpc.errors import ExternalPayloadError, UnknownServerError, UnmappablePayloadError
from conductor_grpc.payload.external.access import read_payload
from conductor_grpc.transport.channel import Channel, open_channel
from conductor_grpc.transport.methods import raw_stream, raw_unary
from conductor_grpc.transport.rest import open_rest_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from google.protobuf.message import Message
    from typing_extensions import Self

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.payload import JsonValue
    from conductor_grpc.transport.methods import RawStream, RawUnary
    from conductor_grpc.transport.rest import RestClient


UNREADABLE = (UnmappablePayloadError, UnknownServerError)
"""What the server answers in place of data that gRPC cannot carry: with the reason where its handler caught the
exception, without one else (also for its NullPointerExceptions, as of a SUB_WORKFLOW without taskToDomain)."""


class ServiceClient:
    """A client of one of the server's gRPC services. Thread-safe; a context manager.

    Opens a channel of its own and closes it, or uses the given one and leaves it open. Connects at the first
    call. All methods block, up to `timeout` seconds (default: the configuration's `call_timeout`; where a method
    reads by REST what gRPC cannot carry, up to `call_timeout` more), and raise
    a leaf of ServerError when the server refuses or cannot be reached, ClosedChannelError after `close()`.
    """

    _service: ClassVar[Any]
    """The descriptor of the service."""

    def __init__(self, configuration: Configuration | None = None, *, channel: Channel | None = None) -> None:
        self.configuration = configured(configuration)
        self._owns_channel = channel is None
        self._channel = open_channel(self.configuration) if channel is None else channel
        self._unary: dict[str, RawUnary] = {}
        self._streams: dict[str, RawStream] = {}
        for method in self._service.methods:
            path = f"/{self._service.full_name}/{method.name}"
            if method.server_streaming:
                self._streams[method.name] = raw_stream(self._channel, path)
            else:
                self._unary[method.name] = raw_unary(self._channel, path)
        self._rest: RestClient | None = None
        self._opening_rest = threading.Lock()

    def close(self) -> None:
        """Closes the channel, unless it was given; calls in flight fail. Closing twice is harmless."""
        if self._owns_channel:
            self._channel.close()
        with self._opening_rest:
            if self._rest is not None:
                self._rest.close()

    def external_payload(self, path: str) -> dict[str, JsonValue]:
        """The input or output at an `external_..._payload_storage_path` of a task or workflow.

        Clients do not follow such paths by themselves: one workflow can lead to hundreds of megabytes.

        Raises ExternalPayloadError, also if the configuration has no `external_payload_storage`.
        """
        storage = self.configuration.external_payload_storage
        if storage is None:
            raise ExternalPayloadError(
                "set Configuration(external_payload_storage=...) to the storage that the server uses", path
            )
        return read_payload(storage, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, request: Message | bytes, timeout: float | None) -> bytes:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return self._unary[method](data, timeout)

    def _stream(self, method: str, request: Message, timeout: float | None) -> Iterator[bytes]:
        return self._streams[method](request.SerializeToString(), timeout)

    def _rest_client(self) -> RestClient | None:
        """The client for what gRPC cannot carry; None where the configuration names no REST address."""
        with self._opening_rest:
            if self._rest is None:
                self._rest = open_rest_client(self.configuration)
            return self._rest


def required(name: str, value: str) -> str:
    """`value`, unless it is empty: the server takes "" for a name, looks for it and answers with riddles."""
    if not isinstance(value, str):
        raise TypeError(f"{name} {value!r}: expected a string, got {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: expected a name or id")
    return value
