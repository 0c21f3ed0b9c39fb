"""`${…}`: values of the workflow and its tasks, put into inputs and outputs.

As on the released server (3.32.1): a text that is one expression becomes the value itself with its type, in a longer
text it becomes what Java prints (`5.0`, `true`, `null`, `{a=1.0}`); what leads nowhere is null; `$${` stands for `${`;
expressions within an expression are filled in first. `${CPEWF_TASK_ID}` and names of environment variables are known
as well; `${workflow.secrets.…}` stays as it is. A path beyond what `json_path` knows gives null with a warning in the
log: `support` refuses such definitions, so it can only have been put together as the workflow ran.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from conductor_grpc.server.embedded.engine.java_text import JsonArray, java_text
from conductor_grpc.server.embedded.engine.json_path import InvalidPathError, UnsupportedPathError, parse_path
from conductor_grpc.server.embedded.engine.template import Expression, Template, parse_template

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

__all__ = ["Scope", "evaluate", "java_text", "scope_of"]

_log = logging.getLogger(__name__)

TASK_ID = "CPEWF_TASK_ID"
PREDEFINED_VARIABLES = frozenset({TASK_ID, "NETFLIX_ENV", "NETFLIX_STACK"})
"""Known to the server whether they are set or not; what is not set stays as it is written."""
_SECRETS = "workflow.secrets."


def evaluate(template: Any, scope: Mapping[str, Any]) -> Any:
    """A JSON value with all expressions in it replaced; keys are left as they are. Makes new dicts and lists.

    What an expression gives is not copied: it is the very object that the scope has.
    """
    if isinstance(template, str):
        return _evaluate_text(template, scope) if "$" in template else template
    if isinstance(template, dict):
        return {key: evaluate(value, scope) for key, value in template.items()}
    if isinstance(template, list):
        return [evaluate(value, scope) for value in template]
    return template


def scope_of(workflow: WorkflowRecord, task_id: str = "") -> Scope:
    """What expressions in this workflow can see; `task_id` is that of the task whose input it is, if any."""
    return Scope(workflow, task_id)


class Scope(Mapping[str, Any]):
    """`workflow` and the latest attempt of each task under its reference name, made when asked for."""

    def __init__(self, workflow: WorkflowRecord, task_id: str) -> None:
        self._workflow = workflow
        self._task_id = task_id

    def __getitem__(self, name: str) -> Any:
        if name == "workflow":
            return _describe_workflow(self._workflow)
        if name == TASK_ID and self._task_id:
            return self._task_id
        for task in reversed(self._workflow.tasks):
            if _visible_name(task) == name:
                return _describe_task(task)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys(["workflow", *map(_visible_name, self._workflow.tasks)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _visible_name(task: TaskRecord) -> str:
    """In a loop its latest turn is seen under the name that the definition gives it."""
    return task.reference_name.partition("__")[0] if task.iteration else task.reference_name


def _describe_workflow(workflow: WorkflowRecord) -> dict[str, Any]:
    return {
        "input": workflow.input,
        "output": workflow.output,
        "status": workflow.status.value,
        "workflowId": workflow.workflow_id,
        "parentWorkflowId": workflow.parent_workflow_id or None,
        "parentWorkflowTaskId": workflow.parent_workflow_task_id or None,
        "workflowType": workflow.name,
        "version": workflow.version,
        "correlationId": workflow.correlation_id,
        "reasonForIncompletion": workflow.reason or None,
        "schemaVersion": workflow.plan.definition.schema_version,
        "variables": workflow.variables,
    }


def _describe_task(task: TaskRecord) -> dict[str, Any]:
    # A worker sends "" where it has nothing to say; what no worker has touched is null.
    unset = "" if task.poll_count else None
    return {
        "input": task.input,
        "output": task.output,
        "taskType": task.task_type,
        "status": task.status.value,
        "referenceTaskName": task.reference_name,
        "retryCount": task.retry_count,
        "correlationId": task.correlation_id,
        "pollCount": task.poll_count,
        "taskDefName": task.name,
        "scheduledTime": task.scheduled_time,
        "startTime": task.start_time,
        "endTime": task.end_time,
        "workflowInstanceId": task.workflow.workflow_id,
        "taskId": task.task_id,
        "reasonForIncompletion": task.reason or unset,
        "callbackAfterSeconds": task.callback_after_seconds,
        "workerId": task.worker_id or unset,
        "iteration": task.iteration,
    }


def _evaluate_text(text: str, scope: Mapping[str, Any]) -> Any:
    template = parse_template(text)
    if template.whole is not None:
        value = _value(template.whole, scope)
        return list(value) if isinstance(value, JsonArray) else value
    return _fill(template, scope)


def _fill(template: Template, scope: Mapping[str, Any]) -> str:
    texts = [part if isinstance(part, str) else java_text(_value(part, scope)) for part in template.parts]
    return "".join(texts).replace("$${", "${")


def _value(expression: Expression, scope: Mapping[str, Any]) -> Any:
    path = _fill(expression.path, scope)
    if not path.strip():
        return ""
    if path.startswith(_SECRETS):
        return expression.text
    if path == TASK_ID:
        return scope.get(TASK_ID, expression.text)
    if path in os.environ or path in PREDEFINED_VARIABLES:
        return os.environ.get(path, expression.text)
    try:
        return parse_path(path).read(scope)
    except InvalidPathError:
        return None
    except UnsupportedPathError as error:
        _log.warning("the expression %s gives null: not evaluated here: %s", expression.text, error)
        return None
