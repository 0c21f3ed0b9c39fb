"""Opening channels to the server: one place for every setting of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc.experimental import ChannelOptions

from conductor_grpc.transport.access import Access
from conductor_grpc.transport.addresses import local_host_of_target
from conductor_grpc.transport.aio_channel import AioChannel
from conductor_grpc.transport.security import security_of
from conductor_grpc.transport.sync_channel import Channel

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.transport.tls import LoadedTls

__all__ = ["AioChannel", "Channel", "open_aio_channel", "open_channel"]

_OPTIONS: tuple[tuple[str, int], ...] = (
    # A message over the client's receive limit loses the whole batch it came in: the tasks are off the queue.
    ("grpc.max_receive_message_length", -1),
    # The server's own limit (4 MiB) answers with a clear error; a second one here would only differ in words.
    ("grpc.max_send_message_length", -1),
    # The server sends Java stack traces as trailers. At grpcio's limits (8 and 16 KiB) a long one turns its
    # error into another, at random.
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 2 << 20),
    # A connection whose other end is gone, behind a load balancer that still acknowledges, shows only by a ping. The
    # server closes one that pings three times within five minutes each, but counts anew whenever it sends something,
    # and gRPC pings only a connection that has calls and has been silent for this long: polls are answered every
    # five seconds. So that is the fourth ping after a minute, when calls have waited for all of their deadline.
    # (grpc-java's KeepAliveEnforcer, 3.32.1.)
    ("grpc.keepalive_time_ms", 15_000),
    # The kernel's patience with data that is not acknowledged (TCP_USER_TIMEOUT).
    ("grpc.keepalive_timeout_ms", 12_000),
    # And gRPC's with a ping: by default a minute, which the timeout above does not shorten (grpcio 1.85). It counts
    # for the pings by which gRPC measures bandwidth too, and while one of those is open no other is sent. Longer than a
    # server usually stands still, for its garbage collection say: every connection it loses is a poll that breaks.
    ("grpc.http2.ping_timeout_ms", 12_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A poll repeated below the poller strands the tasks of the first attempt.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # After a restart of the server, workers come back within seconds; by default it may be two minutes.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # One connection per channel: closing the channel closes it, large acknowledgements do not share a
    # flow-control window with polls, and a forked child can open a new channel (with grpcio 1.76 it cannot
    # while the parent's connection is in a pool that all channels share).
    ("grpc.use_local_subchannel_pool", 1),
)

# One thread less, and one handover less per message, than the default way of reading a stream.
_SYNC_OPTION = (ChannelOptions.SingleThreadedUnaryStream, 1)

# gRPC takes http_proxy for localhost too, unless no_proxy forbids it, and no proxy leads back to this machine.
_LOCAL_OPTION = ("grpc.enable_http_proxy", 0)


def open_channel(configuration: Configuration) -> Channel:
    """A channel to `configuration.target`. Does not connect yet: a wrong address shows at the first call.

    Raises ForkedChannelError in a process forked while gRPC calls were running, ConfigurationError if a file of
    `configuration.tls` cannot be used any more.
    """
    access = _access(configuration)
    options = (*_options(configuration), _SYNC_OPTION)
    if access.security.tls is None:
        return Channel(grpc.insecure_channel(configuration.target, options=options), access)
    return Channel(grpc.secure_channel(configuration.target, _tls(access.security.tls), options=options), access)


def open_aio_channel(configuration: Configuration) -> AioChannel:
    """A channel to `configuration.target` for the running event loop; otherwise like `open_channel`."""
    access = _access(configuration)
    options = _options(configuration)
    if access.security.tls is None:
        return AioChannel(grpc.aio.insecure_channel(configuration.target, options=options), access)
    return AioChannel(grpc.aio.secure_channel(configuration.target, _tls(access.security.tls), options=options), access)


def _access(configuration: Configuration) -> Access:
    return Access(configuration.target, configuration.call_timeout, security_of(configuration))


def _tls(tls: LoadedTls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)


def _options(configuration: Configuration) -> tuple[tuple[str, int | str], ...]:
    options: tuple[tuple[str, int | str], ...] = _OPTIONS
    if local_host_of_target(configuration.target) is not None:
        options = (*options, _LOCAL_OPTION)
    if configuration.tls is not None and configuration.tls.server_name is not None:
        options = (*options, ("grpc.ssl_target_name_override", configuration.tls.server_name))
    return options
