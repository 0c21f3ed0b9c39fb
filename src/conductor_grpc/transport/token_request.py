"""`POST /token`: from the key of `AuthenticationSettings` to a token, and how long that may be used."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

from conductor_grpc.errors import (
    AuthenticationError,
    ConfigurationError,
    ErrorKind,
    PayloadDecodeError,
    ServerError,
    TlsError,
    TokenError,
    TokenUnavailableError,
)
from conductor_grpc.transport.token import Token

if TYPE_CHECKING:
    from conductor_grpc.transport.authentication import AuthenticationSettings
    from conductor_grpc.transport.rest import RestClient

PATH: Final = "/token"

OPAQUE_LIFE: Final = 45 * 60.0
"""Seconds after which a token that does not tell its expiry is renewed, as conductor-python does. It is used on until
there is a new one."""

RENEW_AT: Final = 0.8
"""The share of its life at which a token is renewed, in the background."""

SPARE: Final = 300.0
"""Seconds of its life that are always enough for a renewal."""

_PASSING: Final = (ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED, ErrorKind.TRANSIENT, ErrorKind.UNKNOWN)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+")


def request_token(rest: RestClient, settings: AuthenticationSettings) -> Token:
    """A new token. Blocks.

    Raises TokenError if the key is refused or the answer holds no token, TokenUnavailableError if the service cannot
    be reached, TlsError if one end refuses the other's certificate. None of them holds the secret or a token.
    """
    where = f"POST {PATH} at {rest.base_url}"
    try:
        secret = settings.secret()
    except ConfigurationError as error:
        raise TokenError(f"{where}: {error}", code=grpc.StatusCode.UNAUTHENTICATED, method=f"POST {PATH}") from None
    try:
        body = rest.post_json(PATH, {"keyId": settings.key_id, "keySecret": secret})
        answer = json.loads(body)
    except TlsError:
        raise
    except ServerError as error:
        # Without its cause: some services repeat what they were sent.
        raise _failure(where, settings, secret, error) from None
    except (ValueError, RecursionError, PayloadDecodeError):
        answer = None
    value = answer.get("token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        # What came instead is not told: it may be a token in other clothes.
        raise TokenError(
            f'{where}: expected JSON such as {{"token": "..."}} and got something else. Check that base_url leads to'
            " the server's API, mostly http://HOST:8080/api.",
            code=grpc.StatusCode.UNAUTHENTICATED,
            method=f"POST {PATH}",
        )
    return _token(value)


def _failure(where: str, settings: AuthenticationSettings, secret: str, error: ServerError) -> ServerError:
    said = " ".join(error.details.replace(secret, "***").split()).rstrip(".")[:200] or type(error).__name__
    leaf: type[ServerError] = TokenError
    if error.kind in _PASSING:
        leaf, advice = TokenUnavailableError, "Check the token service and the network between; it is tried again."
    elif error.kind is ErrorKind.NOT_FOUND:
        advice = (
            "There is no token service: check base_url. A server that asks for no token, such as conductor-oss by"
            " itself, needs no authentication_settings."
        )
    elif isinstance(error, AuthenticationError):
        advice = f"Check key_id {settings.key_id!r} and its key_secret: they are not accepted."
    else:
        advice = f"Check base_url, and key_id {settings.key_id!r} with its key_secret."
    return leaf(
        f"{where}: {said} [{error.code.name}]. No token could be obtained, so the call was not made. {advice}",
        code=error.code,
        method=f"POST {PATH}",
        details=said,
    )


def _token(value: str) -> Token:
    now = time.monotonic()
    life = _life(value)
    if life is None:
        return Token(value, now + OPAQUE_LIFE, float("inf"))
    return Token(value, now + max(RENEW_AT * life, life - SPARE), now + life)


def _life(value: str) -> float | None:
    """Seconds that a JSON Web Token has left; None for one that does not tell, or that is over by this clock.

    The time of issue, where it is told, stands for now: then this machine's clock may be wrong.
    """
    parts = value.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expiry = float(claims["exp"])
        life = expiry - float(claims.get("iat", time.time()))
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return life if 0 < life < float("inf") else None
