"""What a storage for large payloads must be able to do."""

from __future__ import annotations

import uuid
from typing import Literal, Protocol, TypeAlias, runtime_checkable

PayloadKind: TypeAlias = Literal["task/input", "task/output", "workflow/input", "workflow/output"]
"""Whose payload it is. These are the folders that the server itself uses in S3."""


@runtime_checkable
class ExternalPayloadStorage(Protocol):
    """A place that the server reads and writes too, by the same paths.

    Called from many threads at once; both methods may block. As a part of `Configuration` it must be hashable and
    should pickle, so open connections where they are needed, not at construction. Any exception fails the task that
    the payload belongs to, which is retried as its definition allows.
    """

    def upload(self, kind: PayloadKind, task_id: str, data: bytes) -> str:
        """Store a JSON document and return the path under which the server finds it.

        Each call must choose a path of its own, also for the same task: the server may still be reading the
        payload that an earlier result of the task has left.
        """

    def download(self, path: str) -> bytes:
        """The document at a path that `upload` or the server has chosen."""


def new_path(kind: PayloadKind, task_id: str) -> str:
    """A path that no other payload has."""
    return f"{kind}/{task_id}-{uuid.uuid4()}.json"
