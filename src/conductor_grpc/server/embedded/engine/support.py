"""What the released server runs and the engine does not.

Checked when a definition arrives, so that nobody finds out half-way through an execution. A task type that the server
does not know itself is the queue of a worker, there and here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.failures import UnsupportedFailure
from conductor_grpc.server.embedded.engine.json_path import InvalidPathError, UnsupportedPathError, parse_path
from conductor_grpc.server.embedded.engine.loop_condition import InvalidLoopConditionError, LoopCondition
from conductor_grpc.server.embedded.engine.template import parse_template
from conductor_grpc.server.embedded.engine.validation import texts, walk
from conductor_grpc.server.embedded.engine.values import from_values

if TYPE_CHECKING:
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

SUPPORTED_TYPES = (
    "SIMPLE",
    "FORK_JOIN",
    "JOIN",
    "SWITCH",
    "SUB_WORKFLOW",
    "SET_VARIABLE",
    "TERMINATE",
    "WAIT",
    "DO_WHILE",
    "HUMAN",
)
_SERVER_TYPES = frozenset(
    {
        *("DECISION", "DYNAMIC", "EVENT", "EXCLUSIVE_JOIN", "FORK_JOIN_DYNAMIC", "HTTP", "INLINE", "JDBC"),
        *("JSON_JQ_TRANSFORM", "KAFKA_PUBLISH", "LAMBDA", "NOOP", "PULL_WORKFLOW_MESSAGES", "START_WORKFLOW"),
        *("AGENT", "CANCEL_AGENT", "GET_AGENT_CARD", "CALL_MCP_TOOL", "LIST_MCP_TOOLS"),
        *("GENERATE_AUDIO", "GENERATE_IMAGE", "GENERATE_PDF", "GENERATE_VIDEO"),
        *("LLM_CHAT_COMPLETE", "LLM_GENERATE_EMBEDDINGS", "LLM_GET_EMBEDDINGS", "LLM_INDEX_TEXT"),
        *("LLM_SEARCH_EMBEDDINGS", "LLM_SEARCH_INDEX", "LLM_STORE_EMBEDDINGS", "LLM_TEXT_COMPLETE"),
    }
)
"""The types of 3.32.1 that it runs itself and the engine does not."""

_REMEDY = "run a real server for it: `conductor-grpc server`"


def check_supported(definition: WorkflowDef) -> None:
    """Raises UnsupportedFailure, which names what it is and what to do, if the engine cannot run all of it."""
    if definition.schema_version != 2:
        raise UnsupportedFailure(
            f"{definition.name}: schema_version {definition.schema_version} stands for an obsolete kind of expressions,"
            f" the embedded server knows 2 only; {_REMEDY}"
        )
    for task in walk(definition.tasks):
        where = f"task {task.task_reference_name}"
        if task.type in _SERVER_TYPES:
            raise UnsupportedFailure(
                f"{where}: the embedded server does not run tasks of type {task.type}, only"
                f" {', '.join(SUPPORTED_TYPES)}; {_REMEDY}"
            )
        if task.type == "SWITCH":
            _check_switch(task, where)
        elif task.type == "DO_WHILE":
            _check_do_while(task, where)
        _check_paths(from_values(task.input_parameters), where)
    _check_paths(from_values(definition.output_parameters), f"outputParameters of {definition.name}")


def _check_switch(task: WorkflowTask, where: str) -> None:
    if task.evaluator_type in ("javascript", "graaljs", "python"):
        raise UnsupportedFailure(
            f"{where}: the embedded server knows no {task.evaluator_type}, a SWITCH can only have the evaluatorType"
            f" value-param; {_REMEDY}"
        )


def _check_do_while(task: WorkflowTask, where: str) -> None:
    try:
        LoopCondition.parse(task.loop_condition)
    except InvalidLoopConditionError as error:
        raise UnsupportedFailure(f"{where}: {error}; {_REMEDY}") from error
    inner = next((each for each in walk(task.loop_over) if each.type == "DO_WHILE"), None)
    if inner is not None:
        raise UnsupportedFailure(
            f"task {inner.task_reference_name}: a DO_WHILE inside another one; the released server starts such a"
            " workflow and never ends it, so make the inner loop a workflow of its own"
        )


def _check_paths(payload: dict[str, object], where: str) -> None:
    """Paths that are only put together as the workflow runs are not seen here; `expressions` says what they give."""
    for text in texts(payload):
        for expression in parse_template(text).expressions():
            _check_path(expression.text[2:-1], where)


def _check_path(path: str, where: str) -> None:
    if path.startswith(("workflow.secrets.", "workflow.env.")):
        raise UnsupportedFailure(f"{where}: the embedded server has no value for {path}; {_REMEDY}")
    try:
        parse_path(path)
    except InvalidPathError:
        return  # null on the released server, too
    except UnsupportedPathError as error:
        message = f"{where}: the embedded server does not evaluate this JsonPath: {error}; {_REMEDY}"
        raise UnsupportedFailure(message) from error
