"""A task of a run, as a test looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.testing.waiting import DEFAULT_TIMEOUT, chances
from conductor_grpc.worker import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from conductor_grpc.clients import Workflow
    from conductor_grpc.payload import JsonValue
    from conductor_grpc.testing.workflow_run import WorkflowRun
    from conductor_grpc.worker import Task

_FAILED = (TaskStatus.FAILED, TaskStatus.FAILED_WITH_TERMINAL_ERROR)


class TaskRun:
    """One task of a run, whether it has been scheduled yet or not. Thread-safe.

    Attributes ask the server at each use and say how things stand then; they raise AssertionError if there is no
    such task. Assertions wait for the task to get there, `timeout` seconds of real time at most. Whatever fails
    shows the whole run.
    """

    def __init__(self, run: WorkflowRun, reference_name: str, attempt: int | None) -> None:
        self._run = run
        self.reference_name = reference_name
        self.attempt = attempt
        """0 for the first, as `Task.retry_count` counts; None for whichever is the latest."""

    def __repr__(self) -> str:
        return f"<TaskRun {self._name} of {self._run.workflow_id}>"

    def now(self) -> Task:
        """All of it as it stands."""
        __tracebackhide__ = True
        run = self._run.now()
        task = self._found_in(run)
        if task is None:
            self._run.fail(f"is {run.status.value} and has no task {self._name}", run)
        return task

    @property
    def status(self) -> TaskStatus:
        __tracebackhide__ = True
        return self.now().status

    @property
    def input(self) -> dict[str, JsonValue]:
        __tracebackhide__ = True
        return self.now().input_data

    @property
    def output(self) -> dict[str, JsonValue]:
        __tracebackhide__ = True
        return self.now().output_data

    @property
    def reason(self) -> str:
        """Of incompletion; "" where there is none."""
        __tracebackhide__ = True
        return self.now().reason_for_incompletion

    @property
    def logs(self) -> list[str]:
        """The lines in its log, oldest first."""
        __tracebackhide__ = True
        return self._run.logs(self.now().task_id)

    @property
    def sub_workflow(self) -> WorkflowRun:
        """The run that a SUB_WORKFLOW task has started."""
        __tracebackhide__ = True
        task = self.now()
        if not task.sub_workflow_id:
            self._run.fail(f"has started no sub-workflow in {self._name}, which is {task.status.value}")
        return self._run.another(task.sub_workflow_id)

    def assert_completed(self, *, timeout: float = DEFAULT_TIMEOUT) -> Task:
        """It comes to be COMPLETED."""
        __tracebackhide__ = True
        return self._assert((TaskStatus.COMPLETED,), None, timeout)

    def assert_failed(self, reason: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Task:
        """It fails, for good or to be retried, for a reason that contains `reason`.

        With retries left the latest attempt is soon the next one: say `attempt=0` for the first.
        """
        __tracebackhide__ = True
        return self._assert(_FAILED, reason, timeout)

    def assert_status(
        self, status: TaskStatus | str, reason: str | None = None, *, timeout: float = DEFAULT_TIMEOUT
    ) -> Task:
        """It comes to be in this state, for a reason that contains `reason`."""
        __tracebackhide__ = True
        return self._assert((TaskStatus(status),), reason, timeout)

    def _assert(self, expected: Collection[TaskStatus], reason: str | None, timeout: float) -> Task:
        __tracebackhide__ = True
        wanted = " or ".join(each.value for each in expected)
        for again in chances(timeout):
            run = self._run.now()
            task = self._found_in(run)
            if task is not None and task.status in expected:
                break
            over = run.status.is_terminal if task is None else task.status.is_terminal
            if over or not again:
                state = "not there" if task is None else task.status.value
                self._run.fail(f"is {run.status.value}: task {self._name} is {state}, expected {wanted}", run)
        assert task is not None
        if reason is not None and reason not in task.reason_for_incompletion:
            self._run.fail(f"has task {self._name} {task.status.value} for another reason, expected {reason!r}", run)
        return task

    @property
    def _name(self) -> str:
        attempt = "" if self.attempt is None else f" (attempt {self.attempt})"
        return f"{self.reference_name!r}{attempt}"

    def _found_in(self, run: Workflow) -> Task | None:
        for task in reversed(run.tasks):
            if task.reference_task_name == self.reference_name and self.attempt in (None, task.retry_count):
                return task
        return None
