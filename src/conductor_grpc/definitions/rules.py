"""What the JSON of a definition means beyond the names and types which its proto message tells.

proto3 scalars have no presence: a field that is left unset arrives at the server as 0, false or "", where the
same JSON sent by REST gets the defaults of the server's Java classes. So every default of those classes that
is not proto's own is written out here and sent. Seen on conductor-server 3.32.1 by reading back what REST
stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUDIT = frozenset({"createTime", "updateTime", "createdBy", "updatedBy", "ownerApp", "accessPolicy"})


@dataclass(frozen=True)
class Rules:
    """The rules of one message type; all keys are JSON keys."""

    defaults: Mapping[str, object] = field(default_factory=dict)
    """Values of absent (or null) keys, where the server's default differs from proto's."""

    ignored: frozenset[str] = frozenset()
    """Keys that belong to the server: an export has them, what they say here has no effect."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """Keys that REST knows and gRPC has no field for, with what to do instead. Empty values are accepted."""

    nullable: frozenset[str] = frozenset()
    """Keys whose proto default stands for the null of REST, so that an export leaves them out."""


_TASK = Rules(
    defaults={
        "retryCount": 3,
        "retryLogic": "FIXED",
        "retryDelaySeconds": 60,
        "timeoutPolicy": "TIME_OUT_WF",
        "responseTimeoutSeconds": 3600,
        "rateLimitFrequencyInSeconds": 1,
        "backoffScaleFactor": 1,
        "taskStatusListenerEnabled": True,
    },
    ignored=_AUDIT,
    refused={
        "inputSchema": "validate the input in the worker, or register the task by REST",
        "outputSchema": "validate the output in the worker, or register the task by REST",
        "enforceSchema": "it concerns inputSchema and outputSchema, which gRPC cannot carry either",
        "runtimeMetadata": "pass what the worker needs as input, or register the task by REST",
    },
    nullable=frozenset({"concurrentExecLimit", "pollTimeoutSeconds"}),
)

_WORKFLOW = Rules(
    defaults={
        "version": 1,
        "schemaVersion": 2,
        "restartable": True,
        "timeoutPolicy": "ALERT_ONLY",
        "enforceSchema": True,
    },
    ignored=_AUDIT,
    nullable=frozenset({"failureWorkflowVersion"}),
)

_WORKFLOW_TASK = Rules(
    defaults={
        "type": "SIMPLE",
        # 0 would override the task definition's retry count and turn retries off; -1 is the server's "not set".
        "retryCount": -1,
        # SYNC, proto's default, makes the server look at a JOIN every 50 ms for ever instead of backing off.
        "joinMode": "ASYNC",
    },
    refused={
        "onStateChange": "publish the events from a task of type EVENT, or register the workflow by REST",
        "dynamicForkJoinTasksParam": "use dynamicForkTasksParam and dynamicForkTasksInputParamName",
        "workflowTaskType": 'use "type"',
    },
    nullable=frozenset({"rateLimited"}),
)

_SUB_WORKFLOW_PARAMS = Rules(
    refused={
        "priority": "start the sub-workflow by a worker that sets it, or register the workflow by REST",
        "idempotencyKey": "gRPC starts have no idempotency keys; register the workflow by REST",
        "idempotencyStrategy": "gRPC starts have no idempotency keys; register the workflow by REST",
    },
    nullable=frozenset({"version"}),
)

_SCHEMA = Rules(
    defaults={"version": 1},
    ignored=_AUDIT,
    refused={
        "data": "register the schema itself by REST and name it here",
        "externalRef": "register the schema itself by REST and name it here",
    },
)

_EVENT_HANDLER = Rules(ignored=_AUDIT)

_EVENT_START_WORKFLOW = Rules(nullable=frozenset({"version"}))

RULES: Mapping[str, Rules] = {
    "conductor.proto.TaskDef": _TASK,
    "conductor.proto.WorkflowDef": _WORKFLOW,
    "conductor.proto.WorkflowTask": _WORKFLOW_TASK,
    "conductor.proto.SubWorkflowParams": _SUB_WORKFLOW_PARAMS,
    "conductor.proto.SchemaDef": _SCHEMA,
    "conductor.proto.EventHandler": _EVENT_HANDLER,
    "conductor.proto.EventHandler.StartWorkflow": _EVENT_START_WORKFLOW,
}

_NO_RULES = Rules()


def rules_of(message_type: str) -> Rules:
    """The rules of a message type, named as in its descriptor's `full_name`."""
    return RULES.get(message_type, _NO_RULES)
