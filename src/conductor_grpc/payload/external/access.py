"""A user's storage, whose methods may raise and return anything, with one kind of error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.errors import ExternalPayloadError, PayloadDecodeError
from conductor_grpc.payload.external.document import from_document

if TYPE_CHECKING:
    from conductor_grpc.payload import JsonValue
    from conductor_grpc.payload.external.storage import ExternalPayloadStorage, PayloadKind


def read_payload(storage: ExternalPayloadStorage, path: str) -> dict[str, JsonValue]:
    """The payload at `path`. Raises ExternalPayloadError."""
    name = type(storage).__name__
    try:
        data = storage.download(path)
    except ExternalPayloadError:
        raise
    except Exception as error:
        raise ExternalPayloadError(f"{name} could not read {path!r}: {type(error).__name__}: {error}", path) from error
    try:
        return from_document(data)
    except PayloadDecodeError as error:
        raise ExternalPayloadError(f"{name} has at {path!r} what is no payload: {error}", path) from error


def write_payload(storage: ExternalPayloadStorage, kind: PayloadKind, owner: str, document: bytes) -> str:
    """Store a payload and return its path; `owner` is the id of the task or workflow. Raises ExternalPayloadError."""
    name = type(storage).__name__
    try:
        path: object = storage.upload(kind, owner, document)
    except ExternalPayloadError:
        raise
    except Exception as error:
        raise ExternalPayloadError(
            f"{name} could not store a {kind} of {len(document):,} bytes: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(path, str) or not path:
        raise ExternalPayloadError(f"{name}.upload returned {path!r:.80}, expected the path of what it has stored")
    return path
