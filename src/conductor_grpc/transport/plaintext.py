"""No credentials to another host in plaintext, unless the user says so by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.transport import addresses
from conductor_grpc.transport.authentication import AuthenticationSettings
from conductor_grpc.transport.call_headers import TOKEN_HEADER
from conductor_grpc.transport.tls import TlsSettings

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration


def check_credentials(configuration: Configuration) -> None:
    """Raise ConfigurationError if the credentials cannot be used, or would cross the network for all to read."""
    settings, tls = configuration.authentication_settings, configuration.tls
    if settings is not None and not isinstance(settings, AuthenticationSettings):
        # Its type only: it may be a secret.
        raise ConfigurationError(
            f"authentication_settings is a {type(settings).__name__}: expected AuthenticationSettings(key_id,"
            " key_secret), or None"
        )
    if tls is not None and not isinstance(tls, TlsSettings):
        raise ConfigurationError(f"tls {tls!r}: expected TlsSettings(...), or None for no TLS")
    if settings is not None and configuration.base_url is None:
        raise ConfigurationError(
            "authentication_settings needs base_url, where the token is got: give it the server's REST address, such"
            " as 'https://conductor.example.com/api'"
        )
    if settings is not None and TOKEN_HEADER in configuration.headers:
        raise ConfigurationError(
            f"headers holds {TOKEN_HEADER!r}, which authentication_settings sets: give one of the two"
        )
    named = configuration.headers.credentials
    if settings is not None or named:
        what = "authentication_settings" if settings is not None else f"the header {named[0]!r}"
        _refuse_plaintext(configuration, what)


def _refuse_plaintext(configuration: Configuration, what: str) -> None:
    if configuration.allow_plaintext_credentials:
        return
    allow = (
        "or allow_plaintext_credentials=True (--allow-plaintext-credentials) if nobody else can read what crosses that"
        " network"
    )
    if configuration.tls is None and not addresses.stays_on_this_machine(configuration.target):
        raise ConfigurationError(
            f"target {configuration.target!r} is on another host and has no TLS, so {what} would cross the network in"
            f" plaintext: give tls=TlsSettings(...) (--tls), {allow}"
        )
    url = configuration.base_url
    if url is not None and url.startswith("http://") and not addresses.is_local(addresses.host_of_base_url(url)):
        raise ConfigurationError(
            f"base_url {url!r} is on another host and has no TLS, so {what} would cross the network in plaintext: give"
            f" it with https, {allow}"
        )
