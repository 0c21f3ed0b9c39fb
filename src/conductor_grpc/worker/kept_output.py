"""The output that a task has so far. The server replaces it by that of each update, so it goes along."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from conductor_grpc.worker.result import MAX_UPDATE_BYTES

if TYPE_CHECKING:
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)


def keep_output(result: TaskResult, task: Task | None, reported: dict[str, object] | None) -> None:
    """Give the result what the worker has reported last, or else what the task came with."""
    if reported is not None:
        result.output_data = dict(reported)
    elif task is not None and task.external_output_payload_storage_path:  # where it stays, also if it was fetched
        result.external_output_payload_storage_path = task.external_output_payload_storage_path
    elif task is not None:
        result.output_data = dict(task.output_data)


def wire_keeping_output(
    result: TaskResult, task: Task | None, reported: dict[str, object] | None, fate: str, besides: bytes = b""
) -> bytes:
    """The request of this result, which keeps that output unless the server would refuse it. What becomes of the task
    must get through, whatever is in it.

    Args:
        result: Gets the output.
        task: See `keep_output`, as for `reported`.
        reported: -
        fate: What becomes of the task, for the log: "fails".
        besides: Further pieces of the request, sent along with the output.
    """
    try:
        keep_output(result, task, reported)
        wire = result.to_wire("string") + besides
        if len(wire) <= MAX_UPDATE_BYTES:
            return wire
        why = f"the update would have {len(wire):,} bytes, and the server takes {MAX_UPDATE_BYTES:,} at most"
    except Exception as error:  # noqa: BLE001 - the task is the worker's, which may have put anything there
        why = f"{type(error).__name__}: {error}"
    logger.warning("task %s %s without the output that it has so far: %s", result.task_id, fate, why)
    result.output_data, result.external_output_payload_storage_path = {}, ""
    return result.to_wire("string")
