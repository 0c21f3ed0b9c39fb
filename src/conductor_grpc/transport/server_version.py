"""What the server can do that an older one cannot, found out without a list of versions where possible."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

import grpc

from conductor_grpc.errors import ErrorKind, PayloadDecodeError, ServerError
from conductor_grpc.transport.reflection import files_of

if TYPE_CHECKING:
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient

_PACKAGE: Final = "conductor.proto"
_MESSAGE: Final = "TaskResult"
_FIELD: Final = "extend_lease"
_SINCE: Final = (3, 32)

_PASSING: Final = (ErrorKind.UNAVAILABLE, ErrorKind.TRANSIENT, ErrorKind.THROTTLED)


class LeaseSupport(enum.Enum):
    """Whether `TaskResult.extend_lease` means anything to the server; the value says why not."""

    YES = ""
    NO = "the server is older than 3.32.0"
    UNTOLD = "the server does not tell whether it can: neither gRPC reflection nor REST (base_url) answers"


def lease_support(channel: Channel, rest: RestClient | None) -> LeaseSupport:
    """Ask by reflection, else by REST. Blocks.

    Raises:
        ServerError: The server cannot be reached, or is busy, so that it should be asked again.
    """
    try:
        known = _by_reflection(channel)
    except ServerError as error:
        if _passes(error):
            raise
        known = None
    except PayloadDecodeError:
        known = None
    if known is None and rest is not None:
        known = _by_version(rest)
    if known is None:
        return LeaseSupport.UNTOLD
    return LeaseSupport.YES if known else LeaseSupport.NO


def _passes(error: ServerError) -> bool:
    """Whether the answer may be another one soon: also once somebody has set the certificate or the key right."""
    refused = error.kind is ErrorKind.AUTH and error.code is not grpc.StatusCode.PERMISSION_DENIED
    return refused or error.kind in _PASSING


def _by_reflection(channel: Channel) -> bool | None:
    for file in files_of(channel, f"{_PACKAGE}.{_MESSAGE}"):
        if file.package == _PACKAGE:
            for message in file.message_type:
                if message.name == _MESSAGE:
                    return any(field.name == _FIELD for field in message.field)
    return None


def _by_version(rest: RestClient) -> bool | None:
    try:
        version = rest.version()
    except PayloadDecodeError:
        return None
    except ServerError as error:
        if _passes(error):
            raise
        return None
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return None if numbers is None else (int(numbers[1]), int(numbers[2])) >= _SINCE
