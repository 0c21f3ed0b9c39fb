"""The workflows and tasks that the server knows, found by what they are asked for with."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.failures import NotFoundFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

    Index = defaultdict[str, dict[str, WorkflowRecord]]


class Shelf:
    """All workflows and their tasks. Not thread-safe: used under the engine's lock.

    At most `keep_finished` workflows that have ended stay; the ones that ended first go first. A sub-workflow stays
    as long as its parent is open, or its parent's parent and so on, and counts only afterwards: what an open workflow
    consists of can always be read.

    Every operation is O(1), or O(tasks of the workflow); lists of workflows are in the order in which they were added.
    """

    def __init__(self, keep_finished: int = 5_000) -> None:
        self.keep_finished = keep_finished
        self._workflows: dict[str, WorkflowRecord] = {}
        self._tasks: dict[str, TaskRecord] = {}
        self._by_name: Index = defaultdict(dict)
        self._by_correlation: Index = defaultdict(dict)
        self._open_by_name: Index = defaultdict(dict)
        self._finished: OrderedDict[str, WorkflowRecord] = OrderedDict()
        """Those that may go, the first to go first."""
        self._children: Index = defaultdict(dict)
        """By parent: sub-workflows that have ended and stay for its sake."""

    def __len__(self) -> int:
        return len(self._workflows)

    # -- finding --

    def workflow(self, workflow_id: str) -> WorkflowRecord:
        """The workflow of this id. Raises NotFoundFailure."""
        found = self._workflows.get(workflow_id)
        if found is None:
            raise NotFoundFailure(f"No such workflow found by id: {workflow_id}")
        return found

    def find(self, workflow_id: str) -> WorkflowRecord | None:
        """The workflow of this id, or None."""
        return self._workflows.get(workflow_id)

    def task(self, task_id: str) -> TaskRecord:
        """The task of this id. Raises NotFoundFailure."""
        found = self._tasks.get(task_id)
        if found is None:
            raise NotFoundFailure(f"No such task found by id: {task_id}")
        return found

    def find_task(self, task_id: str) -> TaskRecord | None:
        """The task of this id, or None."""
        return self._tasks.get(task_id)

    def workflows(self) -> Iterator[WorkflowRecord]:
        """All of them."""
        return iter(self._workflows.values())

    def tasks(self) -> Iterator[TaskRecord]:
        """All tasks of all of them."""
        return iter(self._tasks.values())

    def named(self, name: str) -> list[WorkflowRecord]:
        """The workflows of a definition, whatever its version."""
        return list(self._by_name.get(name, {}).values())

    def running(self, name: str) -> list[WorkflowRecord]:
        """Those of them that have not ended."""
        return list(self._open_by_name.get(name, {}).values())

    def correlated(self, correlation_id: str) -> list[WorkflowRecord]:
        """The workflows that were started with this correlation id."""
        return list(self._by_correlation.get(correlation_id, {}).values())

    # -- putting there --

    def add(self, workflow: WorkflowRecord) -> None:
        """A new workflow, with the tasks it has."""
        key = workflow.workflow_id
        self._workflows[key] = workflow
        self._by_name[workflow.name][key] = workflow
        self._by_correlation[workflow.correlation_id][key] = workflow
        self._open_by_name[workflow.name][key] = workflow
        for task in workflow.tasks:
            self._tasks[task.task_id] = task

    def add_task(self, task: TaskRecord) -> None:
        """A new task of a workflow that is here."""
        self._tasks[task.task_id] = task

    def remove_task(self, task: TaskRecord) -> None:
        """A task that its workflow has no more."""
        self._tasks.pop(task.task_id, None)

    def correlate(self, workflow: WorkflowRecord, correlation_id: str) -> None:
        """Give a workflow that is here another correlation id, as a rerun does."""
        _drop(self._by_correlation, workflow.correlation_id, workflow.workflow_id)
        workflow.correlation_id = correlation_id
        self._by_correlation[correlation_id][workflow.workflow_id] = workflow

    # -- the end of workflows --

    def finished(self, workflow: WorkflowRecord) -> list[WorkflowRecord]:
        """A workflow has ended. Returns those that are gone now, it may be among them."""
        key = workflow.workflow_id
        _drop(self._open_by_name, workflow.name, key)
        if self._stays_for_parent(workflow):
            self._children[workflow.parent_workflow_id][key] = workflow
            return []
        self._release(workflow)
        return self._evict()

    def reopened(self, workflow: WorkflowRecord) -> None:
        """A workflow that had ended goes on: retried, restarted or rerun."""
        key = workflow.workflow_id
        self._open_by_name[workflow.name][key] = workflow
        self._finished.pop(key, None)
        _drop(self._children, workflow.parent_workflow_id, key)
        self._keep_children(workflow)

    def remove(self, workflow: WorkflowRecord) -> list[WorkflowRecord]:
        """Take a workflow away, with its tasks. Returns others that are gone now since nothing keeps them here."""
        self._forget(workflow)
        for child in self._children.pop(workflow.workflow_id, {}).values():
            self._release(child)
        return self._evict()

    # -- inside --

    def _stays_for_parent(self, workflow: WorkflowRecord) -> bool:
        """Whether it is part of an open workflow, however far down."""
        parent = self._workflows.get(workflow.parent_workflow_id)
        while parent is not None and not parent.is_open:
            parent = self._workflows.get(parent.parent_workflow_id)
        return parent is not None

    # Sub-workflows can be nested as deep as anybody likes, so these two do not call themselves.

    def _release(self, workflow: WorkflowRecord) -> None:
        """It may go, and what stayed for its sake: children before their parents, in the order in which they ended."""
        family = [workflow]
        for member in family:
            family.extend(reversed(self._children.pop(member.workflow_id, {}).values()))
        for member in reversed(family):
            self._finished[member.workflow_id] = member

    def _keep_children(self, workflow: WorkflowRecord) -> None:
        family = [workflow]
        for member in family:
            for task in member.tasks:
                child = self._finished.pop(task.sub_workflow_id, None)
                if child is not None:
                    self._children[member.workflow_id][child.workflow_id] = child
                    family.append(child)

    def _evict(self) -> list[WorkflowRecord]:
        gone = []
        while len(self._finished) > self.keep_finished:
            workflow = next(iter(self._finished.values()))
            self._forget(workflow)
            gone.append(workflow)
        return gone

    def _forget(self, workflow: WorkflowRecord) -> None:
        key = workflow.workflow_id
        del self._workflows[key]
        for task in workflow.tasks:
            self._tasks.pop(task.task_id, None)
        _drop(self._by_name, workflow.name, key)
        _drop(self._by_correlation, workflow.correlation_id, key)
        _drop(self._open_by_name, workflow.name, key)
        _drop(self._children, workflow.parent_workflow_id, key)
        self._finished.pop(key, None)


def _drop(index: Index, key: str, workflow_id: str) -> None:
    found = index.get(key)
    if found is not None and found.pop(workflow_id, None) is not None and not found:
        del index[key]
