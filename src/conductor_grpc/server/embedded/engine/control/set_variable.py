"""SET_VARIABLE: its input becomes variables of the workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.base import SingleTask, end

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class SetVariable(SingleTask):
    """Done in the same decision in which it begins."""

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        workflow = task.workflow
        workflow.variables = {**workflow.variables, **task.input}
        engine.touch(workflow)
        end(engine, task)
        return True
