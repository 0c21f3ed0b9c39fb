"""A workflow with a DO_WHILE, as the cases of loops run it.

The server counts iterations in integers, which it cannot send over gRPC: the cases look at the workflow without its
tasks, at what workers are handed, and read a count as part of a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control_tasks import do_while
from wire import plain, simple, status

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

THREE_TIMES = "if ($.loop['iteration'] < 3) { true; } else { false; }"


class Loop:
    """A running workflow of the loop `loop`, then the task `last`."""

    def __init__(
        self,
        server: ServerUnderTest,
        condition: str,
        *body: WorkflowTask,
        workflow_input: dict[str, Any] | None = None,
        last_input: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self._server = server
        self.last_type = server.task_definition()
        last = simple(self.last_type, "last", input_parameters=last_input or {})
        name = server.workflow(do_while("loop", condition, *body, **fields), last)
        self.id = server.start(name, workflow_input)

    @property
    def status(self) -> str:
        return status(self._server.get(self.id, tasks=False))

    def last(self) -> dict[str, Any]:
        """The input of the task behind the loop, which must be over."""
        task = self._server.take(self.last_type)
        assert task.workflow_instance_id == self.id
        return plain(task.input_data)


def iterations(server: ServerUnderTest, condition: str, **loop: Any) -> int:
    """How many times a loop whose body is one task goes round, each time with its number as the task's output `n`."""
    task_type = server.task_definition()
    running = Loop(server, condition, simple(task_type, "body"), **loop)
    for count in range(9):
        (task,) = server.until(
            lambda: server.poll(task_type, wait=-1) or server.poll(running.last_type, wait=-1), seconds=5
        )
        if task.task_type == running.last_type:
            return count
        assert (task.reference_task_name, task.iteration) == (f"body__{count + 1}", count + 1)
        server.complete(task, n=count + 1)
    raise AssertionError(f"{condition} went on for 8 iterations")
