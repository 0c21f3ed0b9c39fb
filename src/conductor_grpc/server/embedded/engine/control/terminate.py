"""TERMINATE: ends the workflow from within."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.base import SingleTask, end

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord

STATUSES = frozenset({"COMPLETED", "FAILED", "TERMINATED"})
"""The ends that it can give a workflow."""


class Terminate(SingleTask):
    """The decider ends the workflow once it sees this task COMPLETED."""

    def start(self, engine: Engine, task: TaskRecord) -> None:
        """Without a valid `terminationStatus` it stays SCHEDULED for good, as on the released server."""
        if task.input.get("terminationStatus") not in STATUSES:
            return
        output = task.input.get("workflowOutput")
        task.output = output if isinstance(output, dict) else {} if output is None else {"output": output}
        task.start_time = task.start_time or engine.clock.now()
        end(engine, task)
