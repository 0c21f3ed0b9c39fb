"""How one connection is guarded: its TLS, and what its calls carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conductor_grpc.transport.credentials import Credentials, credentials_of

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.transport.tls import LoadedTls


@dataclass(frozen=True, repr=False)
class Security:
    """The guards of a connection. Its errors are explained by them."""

    tls: LoadedTls | None = None
    credentials: Credentials | None = None


def security_of(configuration: Configuration) -> Security:
    """For a connection opened now. Raises ConfigurationError if a file of `tls` is not what it was."""
    return Security(None if configuration.tls is None else configuration.tls.load(), credentials_of(configuration))
