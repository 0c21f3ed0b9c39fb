"""What has been registered: task definitions, workflow definitions and event handlers.

Touched only under the engine's lock. The messages handed out are the stored ones: whoever wants to change one copies
it first. What the released server refuses is refused here too (`validation`), and what the engine cannot run besides
(`support`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.server.embedded.engine.failures import (
    AlreadyExistsFailure,
    ConstraintViolation,
    NotFoundFailure,
)
from conductor_grpc.server.embedded.engine.plan import WorkflowPlan, make_plan
from conductor_grpc.server.embedded.engine.support import check_supported
from conductor_grpc.server.embedded.engine.validation import (
    validate_event_handler,
    validate_task_definition,
    validate_workflow_definition,
    walk,
)
from conductor_grpc.server.embedded.engine.wire_checks import check_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class DefinitionStore(Protocol):
    """Where definitions outlive the process; each is the serialized message."""

    def save_task_definition(self, name: str, definition: bytes) -> None: ...
    def delete_task_definition(self, name: str) -> None: ...
    def save_workflow_definition(self, name: str, version: int, definition: bytes) -> None: ...
    def save_event_handler(self, name: str, handler: bytes) -> None: ...
    def delete_event_handler(self, name: str) -> None: ...


class Registry:
    """All definitions of one server."""

    def __init__(self, store: DefinitionStore) -> None:
        self._store = store
        self._tasks: dict[str, TaskDef] = {}
        self._workflows: dict[str, dict[int, WorkflowDef]] = {}
        self._handlers: dict[str, EventHandler] = {}
        self._plans: dict[tuple[str, int], WorkflowPlan] = {}

    # Task definitions

    def put_task_definitions(self, definitions: Sequence[TaskDef]) -> None:
        """Stores them, in place of those that have their names; none of them if one is not valid.

        :raises ConstraintViolation: one is not valid, or there is none.
        """
        if not definitions:
            raise ConstraintViolation("there are no task definitions to create")
        for definition in definitions:
            validate_task_definition(definition)
        for definition in definitions:
            self.load_task_definition(definition.SerializeToString())
            self._store.save_task_definition(definition.name, definition.SerializeToString())

    def update_task_definition(self, definition: TaskDef) -> None:
        """Replaces one. Raises ConstraintViolation, or NotFoundFailure if it is new."""
        validate_task_definition(definition)
        if definition.name not in self._tasks:
            raise NotFoundFailure(f"No such task by name {definition.name}")
        self.put_task_definitions([definition])

    def task_definition(self, name: str) -> TaskDef | None:
        return self._tasks.get(name)

    def delete_task_definition(self, name: str) -> None:
        """Raises ConstraintViolation for "", NotFoundFailure if there is none."""
        if not name:
            raise ConstraintViolation("the name of the task definition to delete is empty")
        if self._tasks.pop(name, None) is None:
            raise NotFoundFailure(f"No such task definition: {name}")
        self._plans.clear()
        self._store.delete_task_definition(name)

    def load_task_definition(self, wire: bytes) -> None:
        """Takes one over from the store."""
        definition = TaskDef.FromString(wire)
        self._tasks[definition.name] = definition
        self._plans.clear()

    # Workflow definitions

    def validate(self, definition: WorkflowDef) -> None:
        """Raises what `create_workflow` would, but for one that exists."""
        validate_workflow_definition(definition)
        check_supported(definition)

    def create_workflow(self, definition: WorkflowDef) -> None:
        """Stores a new one.

        :raises ConstraintViolation: it is not valid.
        :raises UnsupportedFailure: the engine cannot run it.
        :raises AlreadyExistsFailure: there is one with this name and version.
        """
        self.validate(definition)
        if definition.version in self._workflows.get(definition.name, {}):
            raise AlreadyExistsFailure(f"Workflow with {definition.name}.{definition.version} already exists!")
        self._put_workflow(definition)

    def update_workflows(self, definitions: Sequence[WorkflowDef]) -> None:
        """Stores them, new or not; none of them if one is not valid. Raises as `create_workflow` does."""
        if not definitions:
            raise ConstraintViolation("there are no workflow definitions to update")
        for definition in definitions:
            self.validate(definition)
        for definition in definitions:
            self._put_workflow(definition)

    def workflow_definition(self, name: str, version: int | None = None) -> WorkflowDef | None:
        """The one of this version; without a version the latest, which is the one with the highest."""
        versions = self._workflows.get(name)
        if not versions:
            return None
        return versions[max(versions)] if version is None else versions.get(version)

    def load_workflow_definition(self, wire: bytes) -> None:
        """Takes one over from the store."""
        definition = WorkflowDef.FromString(wire)
        self._workflows.setdefault(definition.name, {})[definition.version] = definition
        self._plans.pop((definition.name, definition.version), None)

    def _put_workflow(self, definition: WorkflowDef) -> None:
        wire = definition.SerializeToString()
        self.load_workflow_definition(wire)
        self._store.save_workflow_definition(definition.name, definition.version, wire)

    def plan(self, definition: WorkflowDef) -> WorkflowPlan:
        """How to execute a definition, registered or not, with the task definitions of this moment filled in.

        :raises IllegalArgumentFailure: the server could not read it; such as an unknown enum number.
        :raises UnsupportedFailure: the engine cannot run it.
        """
        if self.workflow_definition(definition.name, definition.version) is not definition:
            check_wire(definition)
            check_supported(definition)
            return make_plan(self._with_task_definitions(definition))
        key = (definition.name, definition.version)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make_plan(self._with_task_definitions(definition))
        return plan

    def _with_task_definitions(self, definition: WorkflowDef) -> WorkflowDef:
        filled = WorkflowDef()
        filled.CopyFrom(definition)
        for task in walk(filled.tasks):
            if not task.HasField("task_definition"):
                registered = self._tasks.get(task.name)
                task.task_definition.CopyFrom(registered or _ad_hoc_definition(task.name, task.type))
        return filled

    # Event handlers

    def add_event_handler(self, handler: EventHandler) -> None:
        """Raises ConstraintViolation, or AlreadyExistsFailure if there is one with this name."""
        validate_event_handler(handler)
        if handler.name in self._handlers:
            raise AlreadyExistsFailure(f"EventHandler with name {handler.name} already exists!")
        self._put_event_handler(handler)

    def update_event_handler(self, handler: EventHandler) -> None:
        """Raises ConstraintViolation, or NotFoundFailure if it is new."""
        validate_event_handler(handler)
        if handler.name not in self._handlers:
            raise NotFoundFailure(f"EventHandler with name {handler.name} not found!")
        self._put_event_handler(handler)

    def remove_event_handler(self, name: str) -> None:
        """Raises ConstraintViolation for "", NotFoundFailure if there is none."""
        if not name:
            raise ConstraintViolation("the name of the event handler to remove is empty")
        if self._handlers.pop(name, None) is None:
            raise NotFoundFailure(f"EventHandler with name {name} not found!")
        self._store.delete_event_handler(name)

    def event_handlers(self) -> Iterable[EventHandler]:
        """All of them, in the order in which they were added."""
        return list(self._handlers.values())

    def event_handlers_for(self, event: str, *, active_only: bool) -> Iterable[EventHandler]:
        """Those that listen to one event. Raises ConstraintViolation for ""."""
        if not event:
            raise ConstraintViolation("the event whose handlers are asked for is empty")
        return [each for each in self._handlers.values() if each.event == event and (each.active or not active_only)]

    def load_event_handler(self, wire: bytes) -> None:
        """Takes one over from the store."""
        handler = EventHandler.FromString(wire)
        self._handlers[handler.name] = handler

    def _put_event_handler(self, handler: EventHandler) -> None:
        wire = handler.SerializeToString()
        self.load_event_handler(wire)
        self._store.save_event_handler(handler.name, wire)


def _ad_hoc_definition(name: str, task_type: str) -> TaskDef:
    """What the released server takes for a task without a definition: its Java defaults, less for non-workers."""
    is_simple = task_type == "SIMPLE"
    return TaskDef(
        name=name,
        retry_count=3 if is_simple else 0,
        retry_delay_seconds=60,
        timeout_policy=TaskDef.TIME_OUT_WF,
        response_timeout_seconds=3600 if is_simple else 0,
        rate_limit_frequency_in_seconds=1,
        backoff_scale_factor=1,
        task_status_listener_enabled=True,
    )
