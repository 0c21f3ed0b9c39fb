"""Which definitions are accepted: those that the released server accepts, less what the engine cannot run.

The rules are those that 3.32.1 showed over gRPC, one by one. It says nothing but UNKNOWN there, so the words are our
own. Two of its gaps are kept, as definitions that pass there must pass here: the tasks inside a DO_WHILE are looked
at for their reference names only, and expressions are looked at in the input of top-level tasks only.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.expressions import PREDEFINED_VARIABLES
from conductor_grpc.server.embedded.engine.failures import ConstraintViolation
from conductor_grpc.server.embedded.engine.json_path import InvalidPathError, UnsupportedPathError, parse_path
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.server.embedded.engine.wait_time import parse_duration, parse_time
from conductor_grpc.server.embedded.engine.wire_checks import check_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

_TERMINATION_STATUSES = ("COMPLETED", "FAILED", "TERMINATED")
_PIECES = re.compile(r"(?<!\$)(?=\$\{)|(?<=\})")
"""Where the server cuts a text to find its expressions; inner ones come out by themselves, outer ones in shreds."""


def validate_task_definition(definition: TaskDef) -> None:
    """Raises IllegalArgumentFailure, UnsetValue or ConstraintViolation if it may not be registered.

    Not for a definition within a workflow's task: the server holds those to nothing.
    """
    check_wire(definition)
    if not definition.name:
        raise ConstraintViolation("a task definition needs a name")
    for field, least in (
        ("retry_count", 0),
        ("response_timeout_seconds", 1),
        ("poll_timeout_seconds", 0),
        ("backoff_scale_factor", 1),
        ("total_timeout_seconds", 0),
        ("max_retry_delay_seconds", 0),
        ("backoff_jitter_ms", 0),
    ):
        value = getattr(definition, field)
        if value < least:
            raise ConstraintViolation(
                f"task definition {definition.name}: {field} is {value}, must be at least {least}"
            )
    timeout, total = definition.timeout_seconds, definition.total_timeout_seconds
    if 0 < timeout < definition.response_timeout_seconds:
        raise ConstraintViolation(
            f"task definition {definition.name}: response_timeout_seconds {definition.response_timeout_seconds}"
            f" must not exceed timeout_seconds {timeout}"
        )
    if 0 < total < timeout:
        raise ConstraintViolation(
            f"task definition {definition.name}: timeout_seconds {timeout}"
            f" must not exceed total_timeout_seconds {total}"
        )


def validate_workflow_definition(definition: WorkflowDef) -> None:
    """Raises IllegalArgumentFailure, UnsetValue or ConstraintViolation if the server would not register it."""
    check_wire(definition)
    if not definition.name:
        raise ConstraintViolation("a workflow definition needs a name")
    if definition.schema_version != 2:
        raise ConstraintViolation(
            f"workflow definition {definition.name}: schema_version is {definition.schema_version}, must be 2"
        )
    if not definition.tasks:
        raise ConstraintViolation(f"workflow definition {definition.name} needs at least one task")
    for task in walk(definition.tasks, into_loops=False):
        _validate_task(task)
    names: set[str] = set()
    for task in walk(definition.tasks):
        if task.task_reference_name in names:
            raise ConstraintViolation(
                f"workflow definition {definition.name}: task_reference_name {task.task_reference_name} is there twice"
            )
        names.add(task.task_reference_name)
    for task in definition.tasks:
        for text in texts(from_values(task.input_parameters)):
            _validate_expressions(text, task, names)


def validate_event_handler(handler: EventHandler) -> None:
    """Raises IllegalArgumentFailure, UnsetValue or ConstraintViolation if it may not be registered."""
    check_wire(handler)
    for field in ("name", "event", "actions"):
        if not getattr(handler, field):
            raise ConstraintViolation(f"the event handler {handler.name!r} needs {field}")


def walk(tasks: Iterable[WorkflowTask], *, into_loops: bool = True) -> Iterator[WorkflowTask]:
    """Every task at any depth."""
    for task in tasks:
        yield task
        for case in task.decision_cases.values():
            yield from walk(case.tasks, into_loops=into_loops)
        yield from walk(task.default_case, into_loops=into_loops)
        for branch in task.fork_tasks:
            yield from walk(branch.tasks, into_loops=into_loops)
        if into_loops:
            yield from walk(task.loop_over)


def _validate_task(task: WorkflowTask) -> None:
    if not task.name:
        raise ConstraintViolation(f"the task {task.task_reference_name!r} needs a name")
    if not task.task_reference_name:
        raise ConstraintViolation(f"the task {task.name!r} needs a task_reference_name")
    if task.start_delay < 0:
        _refuse(task, f"start_delay is {task.start_delay}, the least is 0")
    validate = _BY_TYPE.get(task.type)
    if validate is not None:
        validate(task)


def _validate_fork(task: WorkflowTask) -> None:
    if not task.fork_tasks:
        _refuse(task, "a FORK_JOIN needs at least one branch in fork_tasks")


def _validate_switch(task: WorkflowTask) -> None:
    if not task.decision_cases:
        _refuse(task, "a SWITCH needs at least one case in decision_cases")


def _validate_do_while(task: WorkflowTask) -> None:
    if not task.loop_over:
        _refuse(task, "a DO_WHILE needs at least one task in loop_over")


def _validate_sub_workflow(task: WorkflowTask) -> None:
    if not task.HasField("sub_workflow_param"):
        _refuse(task, "a SUB_WORKFLOW needs a sub_workflow_param")


def _validate_terminate(task: WorkflowTask) -> None:
    if task.optional:
        _refuse(task, "a TERMINATE cannot be optional")
    status = from_values(task.input_parameters).get("terminationStatus")
    if status not in _TERMINATION_STATUSES:
        _refuse(task, f"terminationStatus is {status!r}, must be one of {', '.join(_TERMINATION_STATUSES)}")


def _validate_wait(task: WorkflowTask) -> None:
    inputs = from_values(task.input_parameters)
    duration, until = ("" if inputs.get(key) is None else str(inputs[key]) for key in ("duration", "until"))
    if duration.strip() and until.strip():
        _refuse(task, "a WAIT takes either a duration or until, not both")
    try:
        if duration.strip() and not duration.startswith("${"):
            parse_duration(duration)
        elif until.strip() and not until.startswith("${"):
            parse_time(until)
    except ValueError as error:
        _refuse(task, str(error))


_BY_TYPE: dict[str, Callable[[WorkflowTask], None]] = {
    "FORK_JOIN": _validate_fork,
    "SWITCH": _validate_switch,
    "DO_WHILE": _validate_do_while,
    "SUB_WORKFLOW": _validate_sub_workflow,
    "TERMINATE": _validate_terminate,
    "WAIT": _validate_wait,
}


def _refuse(task: WorkflowTask, why: str) -> None:
    raise ConstraintViolation(f"task {task.task_reference_name}: {why}")


def texts(value: object) -> Iterator[str]:
    """Every text in a payload, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _validate_expressions(text: str, task: WorkflowTask, names: set[str]) -> None:
    for piece in _PIECES.split(text):
        if not (piece.startswith("${") and piece.endswith("}")):
            continue
        path = piece[2:-1]
        try:
            parse_path(path)
        except InvalidPathError as error:
            _refuse(task, f"the expression {piece} is not valid: {error}")
        except UnsupportedPathError:
            pass  # valid on the released server; `support` refuses it
        if path in PREDEFINED_VARIABLES or path in os.environ:
            continue
        source = path.partition(".")[0]
        if source != "workflow" and source not in names:
            _refuse(task, f"the expression {piece} refers to {source!r}, which is no task of this workflow")
