"""A run of a workflow, as a test looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from conductor_grpc.clients import WorkflowStatus
from conductor_grpc.errors import ServerError
from conductor_grpc.testing.report import report
from conductor_grpc.testing.task_run import TaskRun
from conductor_grpc.testing.waiting import DEFAULT_TIMEOUT, chances
from conductor_grpc.worker import TaskLog

if TYPE_CHECKING:
    from conductor_grpc.clients import TaskClient, Workflow, WorkflowClient
    from conductor_grpc.payload import JsonValue


class WorkflowRun:
    """A run that was started, whatever has become of it. Thread-safe.

    Attributes ask the server at each use and say how things stand then. Assertions wait first: for the run to end,
    `timeout` seconds of real time at most. One that fails shows the run with every task: state, input, output,
    reason and log. All raise a leaf of ServerError if the server does not answer.
    """

    def __init__(self, workflow_client: WorkflowClient, task_client: TaskClient, workflow_id: str) -> None:
        self._workflows = workflow_client
        self._tasks = task_client
        self.workflow_id = workflow_id

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.workflow_id}>"

    def now(self) -> Workflow:
        """All of it as it stands, with its tasks."""
        return self._workflows.get(self.workflow_id)

    @property
    def status(self) -> WorkflowStatus:
        return self.now().status

    @property
    def output(self) -> dict[str, JsonValue]:
        """Its output: empty until it has ended."""
        return self.now().output

    @property
    def reason(self) -> str:
        """Of incompletion; "" where there is none."""
        return self.now().reason_for_incompletion

    def task(self, reference_name: str, *, attempt: int | None = None) -> TaskRun:
        """The task with this reference name; the n-th attempt at it, from 0, or whichever is the latest."""
        return TaskRun(self, reference_name, attempt)

    def another(self, workflow_id: str) -> WorkflowRun:
        """Another run on the same server."""
        return WorkflowRun(self._workflows, self._tasks, workflow_id)

    def logs(self, task_id: str) -> list[str]:
        """The lines in the log of one of its tasks, oldest first."""
        return [entry.log for entry in self._tasks.logs(task_id)]

    def wait(self, *, timeout: float = DEFAULT_TIMEOUT) -> Workflow:
        """Blocks until it has ended, however. Raises AssertionError if it has not after `timeout` seconds."""
        __tracebackhide__ = True
        for again in chances(timeout):
            run = self.now()
            if run.status.is_terminal or not again:
                break
        if not run.status.is_terminal:
            self.fail(f"is {run.status.value} after {timeout:g} s, expected it to end", run)
        return run

    def assert_completed(self, *, timeout: float = DEFAULT_TIMEOUT) -> Workflow:
        """It ends as COMPLETED. Returns it, to look at its output."""
        __tracebackhide__ = True
        return self._assert_ended(WorkflowStatus.COMPLETED, None, timeout)

    def assert_failed(self, reason: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Workflow:
        """It ends as FAILED, for a reason that contains `reason`."""
        __tracebackhide__ = True
        return self._assert_ended(WorkflowStatus.FAILED, reason, timeout)

    def assert_timed_out(self, reason: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Workflow:
        """It ends as TIMED_OUT, for a reason that contains `reason`."""
        __tracebackhide__ = True
        return self._assert_ended(WorkflowStatus.TIMED_OUT, reason, timeout)

    def assert_terminated(self, reason: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Workflow:
        """It ends as TERMINATED, for a reason that contains `reason`."""
        __tracebackhide__ = True
        return self._assert_ended(WorkflowStatus.TERMINATED, reason, timeout)

    def fail(self, verdict: str, run: Workflow | None = None) -> NoReturn:
        """Raises AssertionError with the verdict and all that is known; `run` if the test knows it already."""
        __tracebackhide__ = True
        shown = self.now() if run is None else run
        logs = {task.task_id: self._readable_logs(task.task_id) for task in shown.tasks}
        raise AssertionError(f"workflow {shown.name!r} {verdict}\n{report(shown, logs)}")

    def _readable_logs(self, task_id: str) -> list[TaskLog]:
        try:
            return self._tasks.logs(task_id)
        except ServerError as error:  # must not hide what is wrong with the run
            return [TaskLog(f"cannot be read: {error}")]

    def _assert_ended(self, status: WorkflowStatus, reason: str | None, timeout: float) -> Workflow:
        __tracebackhide__ = True
        run = self.wait(timeout=timeout)
        if run.status is not status:
            self.fail(f"is {run.status.value}, expected {status.value}", run)
        if reason is not None and reason not in run.reason_for_incompletion:
            self.fail(f"is {status.value} for another reason, expected {reason!r}", run)
        return run
