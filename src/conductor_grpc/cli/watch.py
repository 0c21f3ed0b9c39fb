"""Looking at workflows until they have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ServerError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.clients import Workflow, WorkflowClient

_FIRST_LOOK: Final = 0.05
_LONGEST_BETWEEN_LOOKS: Final = 1.0


def watch(client: WorkflowClient, workflow_ids: Sequence[str], timeout: float) -> Iterator[list[Workflow]]:
    """The workflows with their tasks, as they stand at each look, until all have ended. Blocks between looks.

    Errors that may pass are not errors until the time is up.

    Raises:
        WaitTimeoutError: One has not ended after `timeout` seconds; it says where that one stands.
        ServerError: The server does not know one, or cannot tell.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_LOOK
    last: list[Workflow] = []
    while True:
        failure: ServerError | None = None
        try:
            last = [client.get(workflow_id) for workflow_id in workflow_ids]
            yield last
            if all(workflow.status.is_terminal for workflow in last):
                return
        except ServerError as error:
            if not error.kind.retryable:
                raise
            failure = error
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_late(last, workflow_ids[0], timeout, failure) from failure
        time.sleep(min(pause, left))
        pause = min(pause * 1.3, _LONGEST_BETWEEN_LOOKS)


def task_states(workflow: Workflow) -> str:
    """The states of its tasks in a few words: `reference SCHEDULED, other COMPLETED`."""
    return ", ".join(f"{task.reference_task_name} {task.status.value}" for task in workflow.tasks) or "no task yet"


def _too_late(
    last: Sequence[Workflow], workflow_id: str, timeout: float, failure: ServerError | None
) -> WaitTimeoutError:
    if failure is not None:
        return WaitTimeoutError(f"workflow {workflow_id} cannot be watched after {timeout:g} s: {failure}", workflow_id)
    late = next(workflow for workflow in last if not workflow.status.is_terminal)
    return WaitTimeoutError(
        f"workflow {late.workflow_id} ({late.name}) is {late.status.value} after {timeout:g} s: {task_states(late)};"
        " it goes on running on the server",
        late.workflow_id,
    )
