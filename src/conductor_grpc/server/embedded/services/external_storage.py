"""Payloads that the released server keeps outside its messages, which then hold only a path (seen on 3.32.1).

Over gRPC nobody can follow such a path: the RPCs that give the place of a payload exist in REST alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from conductor_grpc.server.embedded.engine.values import fill_values

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from google.protobuf.struct_pb2 import Value

    from conductor_grpc.server.embedded.engine.records import Payload

LARGEST: Final = 3072 * 1024
"""Bytes of JSON that stay in a task's input or output (`conductor.app.taskInputPayloadSizeThreshold`)."""

_MOST_BYTES_A_CHARACTER = 4
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def fill_payload(
    values: MutableMapping[str, Value], payload: Payload, path: str, own_path: str, *, strict: bool
) -> str:
    """Puts a task's payload into its field, unless it is elsewhere; the path to it, "" when it is in the field.

    :param path: where a client says that it has put the payload, "" if it has not.
    :param own_path: where the server would put it: strict mode acts as if it did so with one that is too large.
    Raises UnmappableValue as `fill_values` does.
    """
    if path:
        return path
    if strict and _is_large(payload):
        return own_path
    fill_values(values, payload, strict=strict)
    return ""


def _is_large(payload: Payload) -> bool:
    text = _encode(payload)
    return len(text) * _MOST_BYTES_A_CHARACTER > LARGEST and len(text.encode()) > LARGEST
