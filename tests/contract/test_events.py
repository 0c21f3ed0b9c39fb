"""Event handlers: adding, replacing, finding and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from definition_calls import UNEXPLAINED, create_workflow
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Value
from wire import error_of, plain, simple, task_of, value, values

from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
from conductor_grpc.pb.services import event_service_pb2 as messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_under_test import ServerUnderTest

Action = EventHandler.Action


def action(**fields: Any) -> EventHandler.Action:
    """Starts a workflow."""
    start = {"name": "w", "version": 2, "input": values({"n": 1, "text": "é", "nothing": None, "list": [1, {}]})}
    return Action(action="START_WORKFLOW", start_workflow=EventHandler.StartWorkflow(**{**start, **fields}))


class Handlers:
    """The calls of EventService; what was added with :meth:`add` is removed at the end of the case."""

    def __init__(self, server: ServerUnderTest) -> None:
        self._server = server
        self._added: set[str] = set()
        self.event = f"conductor:{server.unique('event')}:t"
        """An event that only this case knows."""

    def new(self, **fields: Any) -> EventHandler:
        """An active handler of this case's event that is not yet added."""
        default = {"name": self._server.unique("handler"), "event": self.event, "active": True, "actions": [action()]}
        return EventHandler(**{**default, **fields})

    def add(self, handler: EventHandler) -> None:
        self._server.events.AddEventHandler(messages.AddEventHandlerRequest(handler=handler))
        self._added.add(handler.name)

    def update(self, handler: EventHandler) -> None:
        self._server.events.UpdateEventHandler(messages.UpdateEventHandlerRequest(handler=handler))

    def remove(self, name: str) -> None:
        self._server.events.RemoveEventHandler(messages.RemoveEventHandlerRequest(name=name))
        self._added.discard(name)

    def of(self, event: str, active_only: bool = False) -> list[EventHandler]:
        request = messages.GetEventHandlersForEventRequest(event=event, active_only=active_only)
        return list(self._server.events.GetEventHandlersForEvent(request))

    def all(self) -> list[EventHandler]:
        return list(self._server.events.GetEventHandlers(messages.GetEventHandlersRequest()))

    def clear(self) -> None:
        for name in list(self._added):
            self.remove(name)


@pytest.fixture
def handlers(server) -> Iterator[Handlers]:
    handlers = Handlers(server)
    yield handlers
    handlers.clear()


def test_a_handler_is_read_back_as_it_was_sent(handlers: Handlers) -> None:
    packed = AnyMessage()
    packed.Pack(value("packed"))
    details = EventHandler.TaskDetails(
        workflow_id="${workflowId}",
        task_ref_name="t",
        output=values({"x": 1}),
        output_message=packed,
        task_id="i",
        reason_for_incompletion="r",
    )
    variables = EventHandler.UpdateWorkflowVariables(workflow_id="w", variables=values({"a": [1]}), append_array=True)
    agent = EventHandler.StartAgent(
        name="a",
        version=1,
        prompt="p",
        session_id="s",
        media=["m"],
        context=values({"c": 1}),
        idempotency_key="k",
    )
    terminate = EventHandler.TerminateWorkflow(workflow_id="w", termination_reason="r")
    sent = handlers.new(
        condition="true",
        evaluator_type="javascript",
        actions=[
            action(correlation_id="c", task_to_domain={"*": "d"}, input_message=packed),
            Action(action="COMPLETE_TASK", complete_task=details, expand_inline_json=True),
            Action(action="FAIL_TASK", fail_task=details),
            Action(action="TERMINATE_WORKFLOW", terminate_workflow=terminate),
            Action(action="UPDATE_WORKFLOW_VARIABLES", update_workflow_variables=variables),
            Action(action="START_AGENT", start_agent=agent),
        ],
    )
    handlers.add(sent)
    assert handlers.of(handlers.event) == [sent]
    assert sent in handlers.all()


def test_a_handler_is_added_only_once(handlers: Handlers) -> None:
    sent = handlers.new()
    handlers.add(sent)
    assert error_of(lambda: handlers.add(handlers.new(name=sent.name, condition="other"))) == UNEXPLAINED
    assert handlers.of(handlers.event) == [sent]


def test_an_event_has_the_handlers_that_name_it(handlers: Handlers) -> None:
    active, inactive, foreign = handlers.new(), handlers.new(active=False), handlers.new(event=f"{handlers.event}2")
    for each in (active, inactive, foreign):
        handlers.add(each)
    assert {each.name for each in handlers.of(handlers.event)} == {active.name, inactive.name}
    assert handlers.of(handlers.event, active_only=True) == [active]


def test_an_unknown_event_has_no_handlers(handlers: Handlers) -> None:
    assert handlers.of(handlers.event) == []


def test_an_event_without_a_name_cannot_be_asked_for(handlers: Handlers) -> None:
    assert error_of(lambda: handlers.of("")) == UNEXPLAINED


def test_an_update_replaces_the_handler_of_the_same_name(handlers: Handlers) -> None:
    first = handlers.new(condition="true")
    handlers.add(first)
    changed = handlers.new(name=first.name, active=False, actions=[action(name="other")])
    handlers.update(changed)
    assert handlers.of(handlers.event) == [changed]


def test_an_update_may_move_a_handler_to_another_event(handlers: Handlers) -> None:
    first = handlers.new()
    handlers.add(first)
    moved = handlers.new(name=first.name, event=f"{handlers.event}2")
    handlers.update(moved)
    assert handlers.of(handlers.event) == []
    assert handlers.of(moved.event) == [moved]


def test_a_removed_handler_is_gone(handlers: Handlers) -> None:
    sent = handlers.new()
    handlers.add(sent)
    handlers.remove(sent.name)
    assert handlers.of(handlers.event) == []
    assert sent not in handlers.all()


def test_an_unknown_handler_can_neither_be_updated_nor_removed(handlers: Handlers) -> None:
    unknown = handlers.new()
    assert error_of(lambda: handlers.update(unknown)) == UNEXPLAINED
    assert error_of(lambda: handlers.remove(unknown.name)) == UNEXPLAINED
    assert handlers.of(handlers.event) == []


NO_SUCH_ACTION = Action(action=99)
BAD_HANDLERS: dict[str, dict[str, Any]] = {
    "no name": {"name": ""},
    "no event": {"event": ""},
    "no actions": {"actions": []},
    "an unknown action": {"actions": [NO_SUCH_ACTION]},
    "a value without a kind": {"actions": [action(input={"x": Value()})]},
}


@pytest.mark.parametrize("case", BAD_HANDLERS)
def test_refused_handler(handlers: Handlers, case: str) -> None:
    known = handlers.new()
    handlers.add(known)
    assert error_of(lambda: handlers.add(handlers.new(**BAD_HANDLERS[case]))) == UNEXPLAINED
    assert error_of(lambda: handlers.update(handlers.new(**{"name": known.name, **BAD_HANDLERS[case]}))) == UNEXPLAINED
    assert handlers.of(handlers.event) == [known]


@pytest.mark.parametrize("call", ["AddEventHandler", "UpdateEventHandler", "RemoveEventHandler"])
def test_a_request_without_a_handler_is_refused(server, call: str) -> None:
    request = getattr(messages, f"{call}Request")()
    assert error_of(lambda: getattr(server.events, call)(request)) == UNEXPLAINED


ODD_HANDLERS: dict[str, dict[str, Any]] = {
    "an event without a queue": {"event": "just a name"},
    "a queue that does not exist": {"event": "no_such_queue:name"},
    "an action without its details": {"actions": [Action(action="COMPLETE_TASK")]},
    "details of another action": {"actions": [Action(action="FAIL_TASK", start_workflow={"name": "w"})]},
}


@pytest.mark.parametrize("case", ODD_HANDLERS)
def test_odd_handler_that_is_accepted(handlers: Handlers, case: str) -> None:
    sent = handlers.new(**ODD_HANDLERS[case])
    handlers.add(sent)
    assert sent in handlers.of(sent.event)


@pytest.mark.differs("embedded", "keeps event handlers, but runs none of them: there are no EVENT tasks")
def test_an_event_task_names_the_event_for_which_handlers_wait(server) -> None:
    """A handler may be run as late as a minute after it was added, so that none is here."""
    task_type, name = server.task_definition(), server.unique("wf")
    produced = simple(task_type, input_parameters={"event": "${event.output.event_produced}"})
    definition = server.workflow_definition(task_of("EVENT", "event", sink="conductor:happened"), produced, name=name)
    if server.name == "embedded":
        assert error_of(lambda: create_workflow(server, definition)).code is grpc.StatusCode.UNIMPLEMENTED
        return
    create_workflow(server, definition)
    server.start(name)
    assert plain(server.take(task_type).input_data) == {"event": f"conductor:{name}:happened"}
