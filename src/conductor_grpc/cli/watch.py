"""Looking at workflows until they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conductor_grpc.clients.waiting import looks
from conductor_grpc.errors import ServerError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.clients import Workflow, WorkflowClient

_LONGEST_BETWEEN_LOOKS: Final = 1.0


def watch(
    client: WorkflowClient, workflow_ids: Sequence[str], timeout: float, *, outlook: str = ""
) -> Iterator[list[Workflow]]:
    """The workflows with their tasks, as they stand at each look, until all have ended. Blocks between looks.

    Errors that may pass are not errors until the time is up. `outlook` is what becomes of a workflow that has not ended
    by then.

    Raises:
        WaitTimeoutError: One has not ended after `timeout` seconds; it says where that one stands.
        ServerError: The server does not know one, or cannot tell.
    """
    last: list[Workflow] = []
    failure: ServerError | None = None
    for patience in looks(timeout, _LONGEST_BETWEEN_LOOKS):
        most = min(patience, client.configuration.call_timeout)
        try:
            last = [client.get(workflow_id, timeout=most) for workflow_id in workflow_ids]
        except ServerError as error:
            if not error.kind.retryable:
                raise
            failure = error
            continue
        failure = None
        yield last
        if all(workflow.status.is_terminal for workflow in last):
            return
    raise _too_late(last, workflow_ids[0], timeout, failure, outlook) from failure


def task_states(workflow: Workflow) -> str:
    """The states of its tasks in a few words: `reference SCHEDULED, other COMPLETED`."""
    return ", ".join(f"{task.reference_task_name} {task.status.value}" for task in workflow.tasks) or "no task yet"


def _too_late(
    last: Sequence[Workflow], workflow_id: str, timeout: float, failure: ServerError | None, outlook: str
) -> WaitTimeoutError:
    if failure is not None:
        return WaitTimeoutError(f"workflow {workflow_id} cannot be watched after {timeout:g} s: {failure}", workflow_id)
    late = next(workflow for workflow in last if not workflow.status.is_terminal)
    return WaitTimeoutError(
        f"workflow {late.workflow_id} ({late.name}) is {late.status.value} after {timeout:g} s: {task_states(late)}"
        f"{outlook and f'; {outlook}'}",
        late.workflow_id,
    )
