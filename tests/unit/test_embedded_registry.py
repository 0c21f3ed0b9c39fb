"""What the registry keeps and hands out, and the plans it makes. As 3.32.1 does it."""

from __future__ import annotations

from typing import Any

import pytest
from embedded_definitions import WrittenDown, loop, switch, task, task_definition, workflow

from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.server.embedded.engine.failures import (
    AlreadyExistsFailure,
    ConstraintViolation,
    IllegalArgumentFailure,
    NotFoundFailure,
)
from conductor_grpc.server.embedded.engine.registry import Registry


@pytest.fixture
def store() -> WrittenDown:
    return WrittenDown()


@pytest.fixture
def registry(store: WrittenDown) -> Registry:
    return Registry(store)


# Task definitions


def test_a_task_definition_takes_the_place_of_an_earlier_one(registry: Registry, store: WrittenDown) -> None:
    first, second = task_definition(), task_definition(retry_count=2)
    registry.put_task_definitions([first])
    registry.put_task_definitions([second])
    registry.update_task_definition(first)
    assert registry.task_definition("job") == first
    assert store.calls == [("save_task_definition", "job", each.SerializeToString()) for each in (first, second, first)]


def test_what_was_handed_in_is_copied(registry: Registry) -> None:
    definition = task_definition()
    registry.put_task_definitions([definition])
    definition.retry_count = 9
    stored = registry.task_definition("job")
    assert stored is not None
    assert stored.retry_count == 0


def test_task_definitions_that_are_not_there(registry: Registry, store: WrittenDown) -> None:
    assert registry.task_definition("job") is None
    with pytest.raises(NotFoundFailure, match="No such task by name job"):
        registry.update_task_definition(task_definition())
    with pytest.raises(NotFoundFailure, match="job"):
        registry.delete_task_definition("job")
    with pytest.raises(ConstraintViolation):
        registry.delete_task_definition("")
    with pytest.raises(ConstraintViolation):
        registry.put_task_definitions([])
    assert store.calls == []


def test_a_deleted_task_definition_is_gone(registry: Registry, store: WrittenDown) -> None:
    registry.put_task_definitions([task_definition()])
    registry.delete_task_definition("job")
    assert registry.task_definition("job") is None
    assert store.calls[-1] == ("delete_task_definition", "job")


# Workflow definitions


def test_a_version_is_created_once_and_updated_often(registry: Registry, store: WrittenDown) -> None:
    registry.create_workflow(workflow())
    with pytest.raises(AlreadyExistsFailure, match=r"Workflow with flow\.1 already exists!"):
        registry.create_workflow(workflow(description="again"))
    changed = workflow(description="changed")
    registry.update_workflows([changed, workflow(name="new")])
    assert registry.workflow_definition("flow", 1) == changed
    assert registry.workflow_definition("new") == workflow(name="new")
    assert [call[:3] for call in store.calls] == [
        ("save_workflow_definition", "flow", 1),
        ("save_workflow_definition", "flow", 1),
        ("save_workflow_definition", "new", 1),
    ]
    with pytest.raises(ConstraintViolation):
        registry.update_workflows([])


def test_the_latest_version_is_the_highest(registry: Registry) -> None:
    for version in (2, 10, -3, 0):
        registry.create_workflow(workflow(version=version))
    latest = registry.workflow_definition("flow")
    assert latest is not None
    assert latest.version == 10
    assert registry.workflow_definition("flow", -3) == workflow(version=-3)
    assert registry.workflow_definition("flow", 7) is None
    assert registry.workflow_definition("nosuch") is None


# Plans


def test_a_plan_has_every_task_definition_filled_in(registry: Registry) -> None:
    registry.put_task_definitions([task_definition("known", retry_count=1)])
    inline = TaskDef(name="own", retry_count=5)
    tasks = [
        task("a", name="known"),
        task("w", "WAIT", name="known"),
        task("b", name="unknown"),
        task("c", name="unknown", task_definition=inline),
        task("d", "MY_TYPE", name="unknown"),
        loop(switch(task("e", name="unknown"))),
    ]
    plan = registry.plan(workflow(*tasks))
    ad_hoc = TaskDef(
        name="unknown",
        retry_count=3,
        retry_delay_seconds=60,
        timeout_policy=TaskDef.TIME_OUT_WF,
        response_timeout_seconds=3600,
        rate_limit_frequency_in_seconds=1,
        backoff_scale_factor=1,
        task_status_listener_enabled=True,
    )
    no_worker = TaskDef()
    no_worker.CopyFrom(ad_hoc)
    no_worker.retry_count = no_worker.response_timeout_seconds = 0
    definitions = {name: each.task_definition for name, each in plan.by_reference.items()}
    assert definitions["a"] == definitions["w"] == registry.task_definition("known")
    assert definitions["b"] == definitions["e"] == ad_hoc
    assert definitions["c"] == inline
    assert definitions["d"] == no_worker
    assert (definitions["l"].name, definitions["l"].retry_count) == ("job", 0)


def test_the_registered_definition_stays_as_it_was(registry: Registry) -> None:
    registry.create_workflow(workflow())
    stored = registry.workflow_definition("flow")
    assert stored is not None
    registry.plan(stored)
    assert stored == workflow()


def test_a_plan_is_made_once_until_something_changes(registry: Registry) -> None:
    def plan() -> object:
        stored = registry.workflow_definition("flow")
        assert stored is not None
        return registry.plan(stored)

    registry.create_workflow(workflow())
    plans = [plan()]
    for change in (
        lambda: registry.put_task_definitions([task_definition()]),
        lambda: registry.delete_task_definition("job"),
        lambda: registry.update_workflows([workflow(description="changed")]),
    ):
        assert plan() is plans[-1]
        change()
        plans.append(plan())
    assert len(set(map(id, plans))) == 4


def test_a_definition_that_is_not_registered_has_a_plan_of_its_own(registry: Registry) -> None:
    registry.create_workflow(workflow())
    inline = workflow(description="inline")
    assert registry.plan(inline).definition.description == "inline"
    stored = registry.workflow_definition("flow")
    assert stored is not None
    assert registry.plan(stored).definition.description == ""
    with pytest.raises(IllegalArgumentFailure):
        registry.plan(workflow(timeout_policy=9))


# Event handlers


def handler(name: str = "h", **fields: Any) -> EventHandler:
    return EventHandler(
        **{"name": name, "event": "sink:e", "actions": [EventHandler.Action()], "active": True, **fields}
    )


def test_event_handlers_are_listed_in_their_order(registry: Registry, store: WrittenDown) -> None:
    handlers = [handler("z"), handler("a", active=False), handler("m", event="other")]
    for each in handlers:
        registry.add_event_handler(each)
    assert list(registry.event_handlers()) == handlers
    assert list(registry.event_handlers_for("sink:e", active_only=False)) == handlers[:2]
    assert list(registry.event_handlers_for("sink:e", active_only=True)) == handlers[:1]
    assert list(registry.event_handlers_for("nosuch", active_only=False)) == []
    assert store.calls == [("save_event_handler", each.name, each.SerializeToString()) for each in handlers]


def test_an_event_handler_changes_and_goes(registry: Registry, store: WrittenDown) -> None:
    registry.add_event_handler(handler())
    with pytest.raises(AlreadyExistsFailure, match="EventHandler with name h already exists!"):
        registry.add_event_handler(handler())
    registry.update_event_handler(handler(active=False))
    assert list(registry.event_handlers()) == [handler(active=False)]
    registry.remove_event_handler("h")
    assert list(registry.event_handlers()) == []
    assert store.calls[-1] == ("delete_event_handler", "h")
    with pytest.raises(NotFoundFailure):
        registry.remove_event_handler("h")
    with pytest.raises(NotFoundFailure):
        registry.update_event_handler(handler())


@pytest.mark.parametrize("missing", [{"name": ""}, {"event": ""}, {"actions": []}])
def test_an_event_handler_that_lacks_something_is_refused(registry: Registry, missing: dict[str, Any]) -> None:
    for refuse in (registry.add_event_handler, registry.update_event_handler):
        with pytest.raises(ConstraintViolation, match=next(iter(missing))):
            refuse(handler(**missing))


def test_an_event_or_a_name_must_be_given(registry: Registry) -> None:
    with pytest.raises(ConstraintViolation):
        registry.event_handlers_for("", active_only=False)
    with pytest.raises(ConstraintViolation):
        registry.remove_event_handler("")
    with pytest.raises(IllegalArgumentFailure):
        registry.add_event_handler(handler(actions=[EventHandler.Action(action=9)]))


def test_what_was_saved_can_be_loaded(registry: Registry, store: WrittenDown) -> None:
    registry.put_task_definitions([task_definition()])
    registry.create_workflow(workflow())
    registry.add_event_handler(handler())
    again = Registry(WrittenDown())
    for name, *_, wire in store.calls:
        getattr(again, name.replace("save", "load"))(wire)
    assert again.task_definition("job") == task_definition()
    assert again.workflow_definition("flow") == workflow()
    assert list(again.event_handlers()) == [handler()]
