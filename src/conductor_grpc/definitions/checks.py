"""What the server would refuse with no word of explanation, or accept and then never execute.

Over gRPC every violation of the server's bean validation is UNKNOWN "Application error processing RPC". And
since proto strings are "" where REST has null, its "this field is required" checks pass over gRPC and the
workflow fails when it runs. The rules are those which conductor-server 3.32.1 answers with 400 by REST, in
the same words where they are clear, plus the traps of gRPC alone; those say so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conductor_grpc.definitions.from_json import child, fail
from conductor_grpc.payload import decode_map
from conductor_grpc.pb.model import taskdef_pb2, workflowdef_pb2, workflowtask_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TaskDef = taskdef_pb2.TaskDef
WorkflowDef = workflowdef_pb2.WorkflowDef
WorkflowTask = workflowtask_pb2.WorkflowTask

_INPUT_PARAMETERS = WorkflowTask.DESCRIPTOR.fields_by_name["input_parameters"].number
_EXPRESSION = re.compile(r"(?<!\$)\$\{([A-Za-z0-9_-]+)\.")


def check_task_definition(task: TaskDef, path: str = "$") -> None:
    """Raises DefinitionError at the first rule that `task` breaks.

    For registering: a definition embedded in a workflow's task is held to none of them, by REST neither.
    """
    if not task.name:
        fail(child(path, "name"), "a task definition needs a name")
    for key, value, least in (
        ("retryCount", task.retry_count, 0),
        ("responseTimeoutSeconds", task.response_timeout_seconds, 1),
        ("pollTimeoutSeconds", task.poll_timeout_seconds, 0),
        ("backoffScaleFactor", task.backoff_scale_factor, 1),
        ("totalTimeoutSeconds", task.total_timeout_seconds, 0),
        ("maxRetryDelaySeconds", task.max_retry_delay_seconds, 0),
        ("backoffJitterMs", task.backoff_jitter_ms, 0),
    ):
        if value < least:
            fail(child(path, key), f"{value} is too small: it must be at least {least}")
    timeout, response, total = (
        task.timeout_seconds,
        task.response_timeout_seconds,
        task.total_timeout_seconds,
    )
    if 0 < timeout < response:
        fail(
            child(path, "responseTimeoutSeconds"),
            f"{response} (3600 where absent) exceeds timeoutSeconds {timeout}: lower it, or use timeoutSeconds 0"
            " for no timeout",
        )
    if 0 < total < timeout:
        fail(child(path, "timeoutSeconds"), f"{timeout} exceeds totalTimeoutSeconds {total}")


def check_workflow_definition(workflow: WorkflowDef, path: str = "$") -> None:
    """Raises DefinitionError at the first rule that `workflow`, or a task in it at any depth, breaks."""
    if not workflow.name:
        fail(child(path, "name"), "a workflow definition needs a name")
    if workflow.version == 0:
        fail(child(path, "version"), "version 0 could never be started: 0 asks for the latest. Use 1 or more")
    if workflow.schema_version != 2:
        fail(
            child(path, "schemaVersion"),
            f"{workflow.schema_version} is not supported: the server knows 2 only",
        )
    if not workflow.tasks:
        fail(child(path, "tasks"), "a workflow definition needs at least one task")
    if workflow.failure_workflow and workflow.failure_workflow_version == 0:
        fail(
            child(path, "failureWorkflowVersion"),
            'gRPC cannot say "the latest": the server would look for version 0 and not start the failure workflow.'
            f" Add the version of {workflow.failure_workflow!r} that is to run",
        )
    tasks = list(walk_tasks(workflow.tasks, child(path, "tasks")))
    places: dict[str, str] = {}
    for task, here in tasks:
        _check_task(task, here)
        earlier = places.setdefault(task.task_reference_name, here)
        if earlier != here:
            fail(
                child(here, "taskReferenceName"),
                f"{task.task_reference_name!r} is the reference name of {earlier} too: they must be unique",
            )
    for index, task in enumerate(workflow.tasks):
        _check_expressions(task, frozenset(places), f"{child(path, 'tasks')}[{index}]")


def walk_tasks(tasks: Iterable[WorkflowTask], path: str) -> Iterator[tuple[WorkflowTask, str]]:
    """Every task at any depth, outer before inner, with its JSON path."""
    for index, task in enumerate(tasks):
        here = f"{path}[{index}]"
        yield task, here
        for name, case in task.decision_cases.items():
            yield from walk_tasks(case.tasks, child(here, "decisionCases", name))
        yield from walk_tasks(task.default_case, child(here, "defaultCase"))
        for branch, fork in enumerate(task.fork_tasks):
            yield from walk_tasks(fork.tasks, f"{child(here, 'forkTasks')}[{branch}]")
        yield from walk_tasks(task.loop_over, child(here, "loopOver"))


def _check_task(task: WorkflowTask, path: str) -> None:
    if not task.name:
        fail(child(path, "name"), "a task needs the name of its task definition")
    if not task.task_reference_name:
        fail(child(path, "taskReferenceName"), f"task {task.name!r} needs a reference name")
    if not task.type:
        fail(child(path, "type"), f'task {task.name!r} has the type "", whose queue nobody polls: use SIMPLE')
    if task.start_delay < 0:
        fail(child(path, "startDelay"), f"{task.start_delay} seconds: it must be 0 or more")
    if task.HasField("task_definition"):
        check_defined_system_task(task, task.task_definition, child(path, "taskDefinition"))
    check = _TYPE_CHECKS.get(task.type)
    if check is not None:
        check(task, path)


def check_defined_system_task(task: WorkflowTask, definition: TaskDef, path: str) -> None:
    """Raises DefinitionError if `task` cannot complete because `definition`, sent over gRPC, is its definition."""
    if task.type in ("JOIN", "WAIT"):
        fail(
            path,
            f"a {task.type} task that has a task definition ({definition.name!r}) does not complete on server 3.32.1:"
            " its response timeout counts from 1970. Leave the definition out, or give it another name",
        )
    if task.type == "HTTP" and not (definition.isolation_group_id and definition.execution_name_space):
        fail(
            path,
            f"an HTTP task with a task definition ({definition.name!r}) sent over gRPC would wait for ever: its"
            ' isolationGroupId arrives as "" and not as null, and names a queue that the server does not poll. Leave'
            " the definition out, give it another name, or register it by REST",
        )


def _check_expressions(task: WorkflowTask, references: frozenset[str], path: str) -> None:
    """`${reference.…}` must name a task of this workflow. Top-level tasks only, as the server has it."""
    inputs = decode_map(task.SerializeToString(), _INPUT_PARAMETERS)
    for text, here in _strings(inputs, child(path, "inputParameters")):
        for reference in _EXPRESSION.findall(text):
            if reference != "workflow" and reference not in references:
                known = ", ".join(sorted(references))
                fail(here, f"{text!r} refers to {reference!r}, which is no task of this workflow ({known})")


def _strings(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, child(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")


def _inputs(task: WorkflowTask) -> dict[str, object]:
    return dict(decode_map(task.SerializeToString(), _INPUT_PARAMETERS))


def _check_switch(task: WorkflowTask, path: str) -> None:
    _require(task, path, "evaluatorType", task.evaluator_type)
    _require(task, path, "expression", task.expression)
    _require(task, path, "decisionCases", task.decision_cases)


def _check_decision(task: WorkflowTask, path: str) -> None:
    _require(task, path, "caseValueParam", task.case_value_param or task.case_expression)
    _require(task, path, "decisionCases", task.decision_cases)


def _check_do_while(task: WorkflowTask, path: str) -> None:
    _require(task, path, "loopCondition", task.loop_condition)
    _require(task, path, "loopOver", task.loop_over)
    if isinstance(_inputs(task).get("keepLastN"), (int, float)):
        fail(
            child(path, "inputParameters", "keepLastN"),
            "numbers sent over gRPC arrive as floating point, and the server fails on a keepLastN that is not an"
            " integer: leave it out, or register this workflow by REST",
        )


def _check_dynamic(task: WorkflowTask, path: str) -> None:
    _require(task, path, "dynamicTaskNameParam", task.dynamic_task_name_param)


def _check_dynamic_fork(task: WorkflowTask, path: str) -> None:
    _require(task, path, "dynamicForkTasksParam", task.dynamic_fork_tasks_param)
    _require(task, path, "dynamicForkTasksInputParamName", task.dynamic_fork_tasks_input_param_name)


def _check_fork(task: WorkflowTask, path: str) -> None:
    _require(task, path, "forkTasks", task.fork_tasks)


def _check_event(task: WorkflowTask, path: str) -> None:
    _require(task, path, "sink", task.sink)


def _check_sub_workflow(task: WorkflowTask, path: str) -> None:
    _require(task, path, "subWorkflowParam", task.HasField("sub_workflow_param"))
    reference = task.sub_workflow_param
    if not reference.name and not reference.HasField("workflow_definition"):
        fail(child(path, "subWorkflowParam", "name"), "which workflow is to run? It needs a name")


def _check_terminate(task: WorkflowTask, path: str) -> None:
    if task.optional:
        fail(child(path, "optional"), "a TERMINATE task cannot be optional")
    status = _inputs(task).get("terminationStatus")
    if status not in ("COMPLETED", "FAILED", "TERMINATED"):
        fail(
            child(path, "inputParameters", "terminationStatus"),
            f"{status!r}: a TERMINATE task needs COMPLETED, FAILED or TERMINATED",
        )


def _check_wait(task: WorkflowTask, path: str) -> None:
    inputs = _inputs(task)
    if inputs.get("duration") and inputs.get("until"):
        fail(child(path, "inputParameters"), "a WAIT task takes either duration or until, not both")


_TYPE_CHECKS: dict[str, Callable[[WorkflowTask, str], None]] = {
    "SWITCH": _check_switch,
    "DECISION": _check_decision,
    "DO_WHILE": _check_do_while,
    "DYNAMIC": _check_dynamic,
    "FORK_JOIN_DYNAMIC": _check_dynamic_fork,
    "FORK_JOIN": _check_fork,
    "EVENT": _check_event,
    "SUB_WORKFLOW": _check_sub_workflow,
    "TERMINATE": _check_terminate,
    "WAIT": _check_wait,
}


def _require(task: WorkflowTask, path: str, key: str, value: object) -> None:
    if not value:
        fail(child(path, key), f"a {task.type} task ({task.task_reference_name!r}) needs {key}")
