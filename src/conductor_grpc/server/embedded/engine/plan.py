"""A workflow definition as the engine walks it: made once for each definition, shared by all its executions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conductor_grpc.server.embedded.engine.values import from_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask


@dataclass(slots=True, eq=False)
class TaskPlan:
    """One task of a workflow definition. Immutable once its workflow plan is made."""

    proto: WorkflowTask
    """With the task definition that was registered when the workflow started filled in."""
    input_parameters: dict[str, Any]
    branches: dict[str, tuple[TaskPlan, ...]] = field(default_factory=dict)
    """The tasks inside it: a FORK_JOIN's branches under their index, a SWITCH's cases under their value and
    `DEFAULT_CASE`, a DO_WHILE's body under `LOOP_BODY`."""
    wire: bytes = b""
    """`proto`, serialized."""

    DEFAULT_CASE = "\0default"
    LOOP_BODY = "\0loop"

    @property
    def reference_name(self) -> str:
        return self.proto.task_reference_name

    @property
    def type(self) -> str:
        return self.proto.type or "SIMPLE"

    @property
    def task_definition(self) -> TaskDef:
        return self.proto.task_definition

    @property
    def retry_count(self) -> int:
        """How many retries are allowed: what the workflow says (-1: nothing), else the task definition."""
        return self.proto.retry_count if self.proto.retry_count >= 0 else self.task_definition.retry_count

    def walk(self) -> Iterator[TaskPlan]:
        """It and everything inside it."""
        yield self
        for branch in self.branches.values():
            for child in branch:
                yield from child.walk()

    def has(self, reference_name: str) -> bool:
        """True if the task of this name is it or inside it."""
        return any(each.reference_name == reference_name for each in self.walk())


@dataclass(slots=True, eq=False)
class WorkflowPlan:
    """A workflow definition with its tasks by name and in their order. Immutable."""

    definition: WorkflowDef
    tasks: tuple[TaskPlan, ...]
    by_reference: dict[str, TaskPlan]
    wire: bytes
    """`definition`, serialized, the task definitions included."""
    _parents: dict[str, TaskPlan | None]
    _followers: dict[str, TaskPlan | None]

    def follower(self, reference_name: str) -> TaskPlan | None:
        """What comes after this task: the next in its sequence; after the last of a branch, what its FORK_JOIN or
        SWITCH is followed by; after the last of a loop's body, the DO_WHILE itself. None: nothing."""
        return self._followers.get(reference_name)

    def parent(self, reference_name: str) -> TaskPlan | None:
        """The task that this one is directly inside of; None at the top."""
        return self._parents.get(reference_name)

    def loop_around(self, reference_name: str) -> TaskPlan | None:
        """The innermost DO_WHILE that this task is inside of."""
        parent = self.parent(reference_name)
        while parent is not None and parent.type != "DO_WHILE":
            parent = self.parent(parent.reference_name)
        return parent


def make_plan(definition: WorkflowDef) -> WorkflowPlan:
    """The plan of a definition whose tasks all have their task definition filled in."""
    tasks = tuple(_task_plan(proto) for proto in definition.tasks)
    parents: dict[str, TaskPlan | None] = {}
    followers: dict[str, TaskPlan | None] = {}
    _link(tasks, None, None, parents, followers)
    by_reference = {each.reference_name: each for task in tasks for each in task.walk()}
    return WorkflowPlan(definition, tasks, by_reference, definition.SerializeToString(), parents, followers)


def _task_plan(proto: WorkflowTask) -> TaskPlan:
    branches: dict[str, tuple[TaskPlan, ...]] = {}
    if proto.type == "FORK_JOIN":
        branches = {str(index): _sequence(each.tasks) for index, each in enumerate(proto.fork_tasks)}
    elif proto.type == "SWITCH":
        branches = {case: _sequence(each.tasks) for case, each in proto.decision_cases.items()}
        branches[TaskPlan.DEFAULT_CASE] = _sequence(proto.default_case)
    elif proto.type == "DO_WHILE":
        branches = {TaskPlan.LOOP_BODY: _sequence(proto.loop_over)}
    return TaskPlan(proto, from_values(proto.input_parameters), branches, proto.SerializeToString())


def _sequence(protos: Sequence[WorkflowTask]) -> tuple[TaskPlan, ...]:
    return tuple(_task_plan(proto) for proto in protos)


def _link(
    sequence: tuple[TaskPlan, ...],
    parent: TaskPlan | None,
    after: TaskPlan | None,
    parents: dict[str, TaskPlan | None],
    followers: dict[str, TaskPlan | None],
) -> None:
    for index, task in enumerate(sequence):
        follower = sequence[index + 1] if index + 1 < len(sequence) else after
        parents[task.reference_name] = parent
        followers[task.reference_name] = follower
        after_branch = task if task.type == "DO_WHILE" else follower
        for branch in task.branches.values():
            _link(branch, task, after_branch, parents, followers)
