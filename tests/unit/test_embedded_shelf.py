"""The embedded server's workflows and tasks: found by their keys, and let go by the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from embedded_records import a_plan, a_task, a_workflow

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import NotFoundFailure
from conductor_grpc.server.embedded.engine.shelf import Shelf

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import WorkflowRecord


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(keep_finished=2)


def added(shelf: Shelf, parent: WorkflowRecord | None = None, name: str = "flow") -> WorkflowRecord:
    """A running workflow with one task; with a parent, what a task of the parent has started."""
    workflow = a_workflow(a_plan(name))
    if parent is not None:
        workflow.parent_workflow_id = parent.workflow_id
        task = a_task(parent, sub_workflow_id=workflow.workflow_id)
        shelf.add_task(task)
    a_task(workflow)
    shelf.add(workflow)
    return workflow


def ended(shelf: Shelf, workflow: WorkflowRecord) -> list[WorkflowRecord]:
    workflow.status = WorkflowStatus.COMPLETED
    return shelf.finished(workflow)


def here(shelf: Shelf, *workflows: WorkflowRecord) -> list[bool]:
    return [shelf.find(workflow.workflow_id) is not None for workflow in workflows]


class TestFinding:
    def test_by_id(self, shelf: Shelf) -> None:
        workflow = added(shelf)
        task = a_task(workflow)
        shelf.add_task(task)
        assert shelf.workflow(workflow.workflow_id) is shelf.find(workflow.workflow_id) is workflow
        assert shelf.task(task.task_id) is shelf.find_task(task.task_id) is task
        assert list(shelf.tasks()) == workflow.tasks

    def test_unknown_ids_are_named(self, shelf: Shelf) -> None:
        with pytest.raises(NotFoundFailure, match=r"^No such workflow found by id: nope$"):
            shelf.workflow("nope")
        with pytest.raises(NotFoundFailure, match=r"^No such task found by id: nope$"):
            shelf.task("nope")
        assert shelf.find("nope") is shelf.find_task("nope") is None

    def test_by_name(self, shelf: Shelf) -> None:
        a, b, other = added(shelf), added(shelf), added(shelf, name="other")
        ended(shelf, a)
        assert shelf.named("flow") == [a, b]
        assert shelf.running("flow") == [b]
        assert shelf.running("other") == [other]
        assert shelf.named("nope") == shelf.running("nope") == []

    def test_by_correlation_id(self, shelf: Shelf) -> None:
        a, b = a_workflow(correlation_id="order 1"), a_workflow(correlation_id="order 1")
        shelf.add(a)
        shelf.add(b)
        assert shelf.correlated("order 1") == [a, b]
        shelf.correlate(a, "order 2")
        assert a.correlation_id == "order 2"
        assert [shelf.correlated("order 1"), shelf.correlated("order 2")] == [[b], [a]]

    def test_what_is_removed_is_found_by_nothing(self, shelf: Shelf) -> None:
        workflow = added(shelf)
        shelf.remove(workflow)
        assert here(shelf, workflow) == [False]
        assert shelf.find_task(workflow.tasks[0].task_id) is None
        assert shelf.named("flow") == shelf.running("flow") == shelf.correlated("") == []

    def test_a_task_that_is_removed(self, shelf: Shelf) -> None:
        workflow = added(shelf)
        shelf.remove_task(workflow.tasks[0])
        assert shelf.find_task(workflow.tasks[0].task_id) is None


class TestEviction:
    def test_the_first_to_end_is_the_first_to_go(self, shelf: Shelf) -> None:
        a, b, c, still_open = (added(shelf) for _ in range(4))
        assert ended(shelf, b) == ended(shelf, a) == []
        assert ended(shelf, c) == [b]
        assert here(shelf, a, b, c, still_open) == [True, False, True, True]
        assert shelf.find_task(b.tasks[0].task_id) is None

    def test_nothing_is_kept_where_nothing_is_to_be_kept(self) -> None:
        shelf = Shelf(keep_finished=0)
        workflow = added(shelf)
        assert ended(shelf, workflow) == [workflow]
        assert len(shelf) == 0

    def test_a_sub_workflow_stays_while_its_parent_is_open(self, shelf: Shelf) -> None:
        parent = added(shelf)
        children = [added(shelf, parent) for _ in range(5)]
        for child in children:
            assert ended(shelf, child) == []
        assert ended(shelf, parent) == children[:4]
        assert here(shelf, children[4], parent) == [True, True]

    def test_and_while_the_parent_stays_for_its_own_parent(self, shelf: Shelf) -> None:
        top = added(shelf)
        parent = added(shelf, top)
        child = added(shelf, parent)
        ended(shelf, child)
        ended(shelf, parent)
        for _ in range(5):
            ended(shelf, added(shelf))
        assert here(shelf, top, parent, child) == [True, True, True]
        ended(shelf, top)
        assert here(shelf, top, parent, child) == [True, True, False]

    def test_a_child_that_ends_after_its_parent(self, shelf: Shelf) -> None:
        parent = added(shelf)
        child = added(shelf, parent)
        ended(shelf, parent)
        ended(shelf, child)
        assert ended(shelf, added(shelf)) == [parent]

    def test_one_that_goes_on_does_not_go_and_keeps_its_children(self, shelf: Shelf) -> None:
        parent = added(shelf)
        child = added(shelf, parent)
        ended(shelf, child)
        ended(shelf, parent)
        parent.status = WorkflowStatus.RUNNING
        shelf.reopened(parent)
        for _ in range(5):
            ended(shelf, added(shelf))
        assert here(shelf, parent, child) == [True, True]
        assert parent in shelf.running("flow")
        ended(shelf, parent)
        for _ in range(2):
            ended(shelf, added(shelf))
        assert here(shelf, parent, child) == [False, False]

    def test_a_child_that_goes_on(self, shelf: Shelf) -> None:
        parent = added(shelf)
        child = added(shelf, parent)
        ended(shelf, child)
        child.status = WorkflowStatus.RUNNING
        shelf.reopened(child)
        ended(shelf, parent)
        for _ in range(5):
            ended(shelf, added(shelf))
        assert here(shelf, parent, child) == [False, True]

    def test_children_of_a_parent_that_is_removed_may_go(self, shelf: Shelf) -> None:
        parent = added(shelf)
        children = [added(shelf, parent) for _ in range(3)]
        for child in children:
            ended(shelf, child)
        assert shelf.remove(parent) == [children[0]]
        assert here(shelf, parent, *children) == [False, False, True, True]

    def test_families_as_deep_as_anybody_likes(self, shelf: Shelf) -> None:
        family = [added(shelf)]
        for _ in range(5_000):
            family.append(added(shelf, family[-1]))
        for member in reversed(family):
            ended(shelf, member)
        assert len(shelf) == 2
        family[0].status = WorkflowStatus.RUNNING
        shelf.reopened(family[0])

    def test_memory_is_flat(self, shelf: Shelf) -> None:
        for number in range(5_000):
            workflow = added(shelf, name=f"flow {number}")
            shelf.correlate(workflow, f"order {number}")
            ended(shelf, workflow)
        assert len(shelf) == 2
        indexes = [value for value in vars(shelf).values() if hasattr(value, "__len__")]
        assert len(indexes) >= 7
        assert max(map(len, indexes)) == 2
