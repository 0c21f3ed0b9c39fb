"""How far a running task is, in the form in which it leaves the worker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import PayloadEncodeError, WorkerDefinitionError
from conductor_grpc.payload import decode_map, encode_map
from conductor_grpc.payload.plain import to_plain
from conductor_grpc.worker.text import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LINE_BYTES: Final = 4 * 1024
"""Longest line of progress, in bytes of UTF-8: there may be many."""

_FIELD: Final = 1


def snapshot(output: Mapping[str, object]) -> dict[str, object]:
    """A copy of `output` as the server will have it, which does not change when the worker's own does.

    Raises:
        WorkerDefinitionError: It is no mapping, nor anything that becomes one.
        PayloadEncodeError: A value has no JSON form; `path` begins with `progress`.
    """
    plain = to_plain(output)
    if not isinstance(plain, dict):
        raise WorkerDefinitionError(
            f"progress() got the output {output!r:.80}, expected a dict or a dataclass: for words give message=..."
        )
    try:
        return {**decode_map(encode_map(plain, _FIELD, "string"), _FIELD)}
    except PayloadEncodeError as error:
        raise PayloadEncodeError(str(error).removeprefix(f"{error.path}: "), f"progress.{error.path}") from error


def line(message: str, output: dict[str, object] | None) -> str:
    """What the task's log shows: the message, or else the output as JSON."""
    return bounded(message or json.dumps(output, ensure_ascii=False), MAX_LINE_BYTES)
