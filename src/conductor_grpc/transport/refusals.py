"""Which guard has refused a call, and what to do: TLS, the client's certificate, or the token.

gRPC tells the failures of TLS as UNAVAILABLE, like a server that is down, and Python's ssl module has words of its
own. Both have them from OpenSSL or one of its kin, so the same texts tell them apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from conductor_grpc.transport.security import Security
    from conductor_grpc.transport.tls import LoadedTls

_SERVER_CERTIFICATE: Final = (
    (
        re.compile(r"certificate has expired"),
        "The server's certificate has expired: it has to be renewed there (or this machine's clock is wrong).",
    ),
    (
        re.compile(r"certificate is not yet valid"),
        "The server's certificate is not valid yet: check this machine's clock, and the certificate.",
    ),
    (
        re.compile(r"Hostname Verification Check failed|(Hostname|IP address) mismatch"),
        (
            "The server's certificate is for another name: connect by the name it is for, or give that as"
            " TlsSettings(server_name=...)."
        ),
    ),
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED"),
        (
            "The server's certificate comes from an authority that is not trusted here: give TlsSettings(ca=...) the"
            " certificate of the authority that issued it. It may also be another server that answers."
        ),
    ),
)

_NO_TLS: Final = re.compile(r"WRONG_VERSION_NUMBER|record layer failure|HTTP_REQUEST")

# What servers say of the client's certificate: a TLS alert, or nginx's page over HTTP.
_CLIENT_CERTIFICATE: Final = re.compile(
    r"ALERT_(NO_|BAD_|UNSUPPORTED_)?CERTIFICATE(_\w+)?|ALERT_(UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)"
    r"|No required SSL certificate was sent|The SSL certificate error|client('s)? certificate",
    re.IGNORECASE,
)
_HTTP_400: Final = re.compile(r"header with status: 400\b")
# The last is how grpcio, now and then, sees an answer that is a page instead of gRPC.
_HUNG_UP: Final = re.compile(r"socket closed|connection reset|broken pipe|END_STREAM flag", re.IGNORECASE)

HTTPS_WANTED: Final = "plain HTTP request was sent to HTTPS port"


def tls_advice(details: str, tls: LoadedTls | None) -> str | None:
    """What to do about a connection that could not be made; None if these words tell of no trouble with TLS."""
    for pattern, advice in _SERVER_CERTIFICATE:
        if pattern.search(details):
            return advice
    if _NO_TLS.search(details):
        return "The port does not speak TLS: use the server's TLS port, or leave out tls (for REST: the https)."
    return certificate_advice(details, tls)


def certificate_advice(details: str, tls: LoadedTls | None) -> str | None:
    """What to do about a refusal of the client's certificate; None if these words tell of none."""
    if _CLIENT_CERTIFICATE.search(details):
        return _client_certificate("The server does not accept this client", tls)
    return None


def page_advice(details: str, tls: LoadedTls | None) -> str | None:
    """The same for nginx's answer to a certificate that is missing or unwanted: HTTP 400, which no server gives."""
    if tls is None or not _HTTP_400.search(details):
        return None
    return _client_certificate("A proxy refused the call before the server saw it, mostly for its certificate", tls)


def hung_up_advice(details: str, security: Security) -> str | None:
    """For a call over TLS that the other side broke off: at once, it is mostly for the client's certificate.

    It may also be a server that goes down in the midst of a call, so nothing but words can be made of it.
    """
    if security.tls is None or not _HUNG_UP.search(details):
        return None
    return _client_certificate(
        "The other side broke off; if that stays, it does not accept this client's certificate", security.tls
    )


def token_advice(code: grpc.StatusCode, security: Security) -> str | None:
    """What to do where a call was refused as UNAUTHENTICATED; None for another status."""
    if code is not grpc.StatusCode.UNAUTHENTICATED:
        return None
    credentials = security.credentials
    if credentials is None:
        return (
            "No token was sent: give Configuration(authentication_settings=AuthenticationSettings(key_id, key_secret)),"
            " or headers={...} if it asks for another header."
        )
    if not credentials.has_token:
        return "No token was sent, and the headers are not enough: check the values in Configuration(headers=...)."
    return (
        "The token is not accepted although it was obtained from base_url not long ago: check that the server takes"
        " the tokens of that service, that the key has not been revoked, and the clocks."
    )


def _client_certificate(refusal: str, tls: LoadedTls | None) -> str:
    if tls is None:
        return f"{refusal}. None was sent: give Configuration(tls=TlsSettings(certificate=..., key=...))."
    return f"{refusal}. {tls.unwanted_certificate()}"
