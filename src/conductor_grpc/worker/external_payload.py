"""Large payloads of tasks on their way into and out of a worker."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload import Layout
from conductor_grpc.payload.external.access import read_payload, write_payload
from conductor_grpc.payload.external.document import to_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.payload import JsonValue
    from conductor_grpc.payload.external import ExternalPayloadStorage
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

_MOST_JSON_PER_WIRE_BYTE: Final = 6
"""A control character is one byte on the wire and `\\u0001` in JSON; nothing grows more."""

_REQUEST: Final = Layout([(1, "bytes")])
_OUTPUT: Final = Layout([(7, "value_map")])


def _trusted() -> None:
    """The check where nobody can tell whether the server reads the storage."""


class ExternalPayloads:
    """Puts outputs that are too large into the user's storage, and gets inputs from there. Thread-safe."""

    def __init__(
        self,
        storage: ExternalPayloadStorage,
        threshold: int,
        limit: int,
        update_limit: int,
        check: Callable[[], None] = _trusted,
    ) -> None:
        """
        Args:
            storage: The user's.
            threshold: Bytes of JSON beyond which an output goes there.
            limit: Bytes of JSON that an output may have at all.
            update_limit: Bytes that an update may have; with a larger one the output goes there as well.
            check: Called before a path is sent; raises ExternalPayloadError if the server could not read it.
        """
        self._storage = storage
        self._threshold = threshold
        self._limit = limit
        self._update_limit = update_limit
        self._check = check
        self._certainly_small = min(threshold // _MOST_JSON_PER_WIRE_BYTE, update_limit)

    def fetches(self, task: Task) -> bool:
        """Whether `incoming` reads the storage. Never blocks."""
        return bool(
            (task.external_input_payload_storage_path and not task.input_data)
            or (task.external_output_payload_storage_path and not task.output_data)
        )

    def may_store(self, wire: bytes) -> bool:
        """Whether `outgoing` may write to the storage, which is not certain before the output is JSON. Never blocks."""
        return len(wire) > self._certainly_small

    def incoming(self, task: Task) -> Task:
        """The task with the payloads that lie in the storage put in their places; itself if there are none.

        Blocks while the storage does. Raises ExternalPayloadError.
        """
        if task.external_input_payload_storage_path and not task.input_data:
            values = read_payload(self._storage, task.external_input_payload_storage_path)
            task = dataclasses.replace(task, input_data=values)
        if task.external_output_payload_storage_path and not task.output_data:
            values = read_payload(self._storage, task.external_output_payload_storage_path)
            task = dataclasses.replace(task, output_data=values)
        return task

    def outgoing(self, result: TaskResult, wire: bytes) -> tuple[TaskResult, bytes]:
        """The result and its UpdateTaskRequest `wire`, with the output put into the storage if it is too large.

        Blocks while the storage does. Raises ExternalPayloadError, and PayloadEncodeError where the output is larger
        than it may be even there.
        """
        if not self.may_store(wire) or not (output := _output_of(wire)):
            return result, wire
        document = to_document(output)
        if len(document) <= self._threshold and len(wire) <= self._update_limit:
            return result, wire
        if len(document) > self._limit:
            raise PayloadEncodeError(
                f"it has {len(document):,} bytes as JSON, and even in external storage the server allows"
                f" {self._limit:,} (external_payload_limit): store the data elsewhere and return a reference to it",
                "output",
            )
        self._check()
        path = write_payload(self._storage, "task/output", result.task_id, document)
        logger.debug("the output of task %s, %d bytes, is stored at %r", result.task_id, len(document), path)
        relieved = dataclasses.replace(result, output_data={}, external_output_payload_storage_path=path)
        return relieved, relieved.to_wire()


def _output_of(wire: bytes) -> dict[str, JsonValue]:
    # From the wire, for there every value has its JSON form already, whatever type the worker has used.
    (message,) = _REQUEST.decode(wire)
    (output,) = _OUTPUT.decode(message)
    return dict(output)
