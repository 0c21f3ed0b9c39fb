"""What the engine keeps of a workflow and of a task: plain mutable records, touched only under the engine's lock.

Times are milliseconds since 1970 on the engine's clock, 0 where the thing has not happened. Payloads are JSON values
in which a number that came over gRPC is always a float and an integer is always one that the engine made itself, as
on the released server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage

    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.server.embedded.engine.plan import TaskPlan, WorkflowPlan

Payload = dict[str, Any]

BUILT_IN = frozenset({"SWITCH", "FORK_JOIN", "JOIN", "DO_WHILE"})
"""Types that only steer: never tried again by themselves."""

_OPEN = (TaskStatus.SCHEDULED, TaskStatus.IN_PROGRESS)
"""What `TaskStatus.is_terminal` says no to. Decisions ask this of every task of a workflow: here it is quicker."""

SUCCESSFUL = frozenset({TaskStatus.COMPLETED, TaskStatus.COMPLETED_WITH_ERRORS, TaskStatus.SKIPPED})
RETRIABLE = frozenset(
    set(TaskStatus) - {TaskStatus.CANCELED, TaskStatus.FAILED_WITH_TERMINAL_ERROR, TaskStatus.SKIPPED}
)
"""States after which another attempt may be made."""


_ENDED_BY = {TaskStatus.CANCELED: WorkflowStatus.TERMINATED, TaskStatus.TIMED_OUT: WorkflowStatus.TIMED_OUT}


def ended_by(status: TaskStatus) -> WorkflowStatus:
    """How a workflow ends when one of its tasks has ended so, for good."""
    return _ENDED_BY.get(status, WorkflowStatus.FAILED)


@dataclass(slots=True, eq=False)
class TaskLog:
    """One line of a task's log."""

    text: str
    created_time: int


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One attempt at one task of one workflow."""

    task_id: str
    workflow: WorkflowRecord
    plan: TaskPlan
    """What the workflow definition says of it; within a loop shared by all its iterations."""
    task_type: str
    """SIMPLE tasks carry their name here, a FORK_JOIN task `FORK`; all others their type."""
    reference_name: str
    """The plan's, with `__<iteration>` within a loop."""
    status: TaskStatus
    name: str = ""
    """Of the task definition."""
    seq: int = 0
    correlation_id: str = ""
    retry_count: int = 0
    retried_task_id: str = ""
    retried: bool = False
    """Another attempt has taken its place."""
    executed: bool = False
    """The decider has drawn its conclusions: what follows it is scheduled."""
    iteration: int = 0
    input: Payload = field(default_factory=dict)
    output: Payload = field(default_factory=dict)
    scheduled_time: int = 0
    start_time: int = 0
    end_time: int = 0
    update_time: int = 0
    first_start_time: int = 0
    first_scheduled_time: int = 0
    """Of its first attempt."""
    deliver_at: int = 0
    """When a queue hands it out, for a SCHEDULED one; the engine's wake-up time for a waiting system task."""
    queued: bool = False
    """In the queue of `queue_name`."""
    start_delay_seconds: int = 0
    callback_after_seconds: int = 0
    extra_delay_ms: int = 0
    """Milliseconds beyond the delays in seconds."""
    response_timeout_seconds: int = 0
    poll_count: int = 0
    worker_id: str = ""
    domain: str = ""
    reason: str = ""
    """Of incompletion."""
    sub_workflow_id: str = ""
    sub_workflow_changed: bool = False
    parent_task_id: str = ""
    input_message: AnyMessage | None = None
    output_message: AnyMessage | None = None
    external_input_path: str = ""
    external_output_path: str = ""
    logs: list[TaskLog] = field(default_factory=list)

    @property
    def definition(self) -> TaskDef:
        """The task definition as it was when the workflow started; an ad-hoc one where none was registered."""
        return self.plan.task_definition

    @property
    def queue_name(self) -> str:
        """`[domain:]task type`, what a poll names."""
        return f"{self.domain}:{self.task_type}" if self.domain else self.task_type

    @property
    def is_open(self) -> bool:
        return self.status in _OPEN

    @property
    def has_failed(self) -> bool:
        """Ended, and not well."""
        return self.status not in _OPEN and self.status not in SUCCESSFUL

    def __repr__(self) -> str:
        return f"<task {self.task_id} {self.reference_name} {self.status}>"


@dataclass(slots=True, eq=False)
class WorkflowRecord:
    """One execution of one workflow definition."""

    workflow_id: str
    plan: WorkflowPlan
    status: WorkflowStatus = WorkflowStatus.RUNNING
    tasks: list[TaskRecord] = field(default_factory=list)
    """In the order in which they were scheduled."""
    input: Payload = field(default_factory=dict)
    output: Payload = field(default_factory=dict)
    variables: Payload = field(default_factory=dict)
    create_time: int = 0
    end_time: int = 0
    update_time: int = 0
    last_retried_time: int = 0
    correlation_id: str = ""
    priority: int = 0
    reason: str = ""
    """Of incompletion."""
    event: str = ""
    parent_workflow_id: str = ""
    parent_workflow_task_id: str = ""
    rerun_from_workflow_id: str = ""
    task_to_domain: dict[str, str] = field(default_factory=dict)
    failed_reference_names: list[str] = field(default_factory=list)
    failed_task_names: list[str] = field(default_factory=list)
    external_input_path: str = ""
    external_output_path: str = ""

    @property
    def name(self) -> str:
        return self.plan.definition.name

    @property
    def version(self) -> int:
        return self.plan.definition.version

    @property
    def is_open(self) -> bool:
        return not self.status.is_terminal

    def by_reference(self, reference_name: str) -> TaskRecord | None:
        """The latest attempt at the task with this reference name."""
        for task in reversed(self.tasks):
            if task.reference_name == reference_name:
                return task
        return None

    def __repr__(self) -> str:
        return f"<workflow {self.workflow_id} {self.name} {self.status}>"
