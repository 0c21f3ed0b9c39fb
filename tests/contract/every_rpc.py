"""One request that goes well and one that does not for each of the 42 RPCs, with the error of the latter.

The requests are made anew for each case, with names and executions that belong to it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from wire import simple

from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services import event_service_pb2 as event
from conductor_grpc.pb.services import metadata_service_pb2 as metadata
from conductor_grpc.pb.services import task_service_pb2 as task
from conductor_grpc.pb.services import workflow_service_pb2 as workflow
from conductor_grpc.pb.services.search_pb2 import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task

UNKNOWN = grpc.StatusCode.UNKNOWN
INTERNAL = grpc.StatusCode.INTERNAL
NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
CANCELLED = grpc.StatusCode.CANCELLED

UNPARSABLE = b"\xff" * 8
"""The error request of an RPC that takes any message: no message at all."""
NO_ID = "00000000-0000-0000-0000-000000000000"


class Scene:
    """What a request may refer to, made when it is first asked for."""

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server

    def scheduled(self) -> str:
        """The type of a task that waits for a worker."""
        return self.server.start_task()[0]

    def taken(self) -> Task:
        return self.server.take(self.scheduled())

    def running(self) -> str:
        """The id of a running workflow."""
        return self.server.start_task()[1]

    def paused(self) -> str:
        workflow_id = self.running()
        self.server.workflows.PauseWorkflow(workflow.PauseWorkflowRequest(workflow_id=workflow_id))
        return workflow_id

    def completed(self) -> Task:
        """The task of a completed workflow."""
        done = self.taken()
        self.server.complete(done)
        return done

    def failed(self) -> str:
        """The id of a failed workflow."""
        failed = self.taken()
        self.server.fail(failed)
        return failed.workflow_instance_id

    def task_definition(self, **fields: Any) -> TaskDef:
        name = fields.pop("name", None) or self.server.unique()
        return TaskDef(**{"name": name, "response_timeout_seconds": 5, "backoff_scale_factor": 1, **fields})

    def handler(self, known: bool) -> EventHandler:
        """An event handler that is or is not registered."""
        action = EventHandler.Action(action="TERMINATE_WORKFLOW", terminate_workflow={"workflow_id": "w"})
        handler = EventHandler(name=self.server.unique("handler"), event="conductor:none", actions=[action])
        if known:
            self.server.events.AddEventHandler(event.AddEventHandlerRequest(handler=handler))
        return handler


class Rpc(NamedTuple):
    """The two requests of an RPC, and the code of the error that the second one brings on."""

    good: Callable[[Scene], Message]
    bad: Callable[[Scene], Message | bytes]
    code: grpc.StatusCode


def _result(of: Task) -> TaskResult:
    return TaskResult(workflow_instance_id=of.workflow_instance_id, task_id=of.task_id, status="COMPLETED")


def _of_workflow(request: Any, good: Callable[[Scene], str], bad: Callable[[Scene], str] = lambda _: NO_ID) -> Rpc:
    """An RPC about a workflow; by default the bad request names one that does not exist."""
    return Rpc(lambda s: request(workflow_id=good(s)), lambda s: request(workflow_id=bad(s)), INTERNAL)


_SEARCH = Rpc(lambda _: Request(query="workflowType=none"), lambda _: Request(size=5001), INVALID)

TASK_SERVICE: Mapping[str, Rpc] = {
    "AddLog": Rpc(
        lambda s: task.AddLogRequest(task_id=s.taken().task_id, log="l"), lambda _: task.AddLogRequest(), UNKNOWN
    ),
    "BatchPoll": Rpc(
        lambda s: task.BatchPollRequest(task_type=s.scheduled(), count=1, timeout=1000),
        lambda s: task.BatchPollRequest(task_type=s.scheduled(), timeout=5001),
        INVALID,
    ),
    "GetQueueAllInfo": Rpc(lambda _: task.QueueAllInfoRequest(), lambda _: UNPARSABLE, UNKNOWN),
    "GetQueueInfo": Rpc(lambda _: task.QueueInfoRequest(), lambda _: UNPARSABLE, UNKNOWN),
    "GetQueueSizesForTasks": Rpc(lambda _: task.QueueSizesRequest(task_types=["t"]), lambda _: UNPARSABLE, UNKNOWN),
    "GetTask": Rpc(
        lambda s: task.GetTaskRequest(task_id=s.taken().task_id),
        lambda _: task.GetTaskRequest(task_id=NO_ID),
        NOT_FOUND,
    ),
    "GetTaskLogs": Rpc(
        lambda s: task.GetTaskLogsRequest(task_id=s.taken().task_id), lambda _: task.GetTaskLogsRequest(), UNKNOWN
    ),
    "Poll": Rpc(
        lambda s: task.PollRequest(task_type=s.scheduled()),
        lambda s: task.PollRequest(task_type=s.server.unique()),
        CANCELLED,
    ),
    "Search": _SEARCH,
    "SearchV2": _SEARCH,
    "UpdateTask": Rpc(
        lambda s: task.UpdateTaskRequest(result=_result(s.taken())),
        lambda _: task.UpdateTaskRequest(result=TaskResult(workflow_instance_id=NO_ID, task_id=NO_ID)),
        INTERNAL,
    ),
}

WORKFLOW_SERVICE: Mapping[str, Rpc] = {
    "DecideWorkflow": _of_workflow(workflow.DecideWorkflowRequest, Scene.running),
    "GetRunningWorkflows": Rpc(
        lambda _: workflow.GetRunningWorkflowsRequest(name="none"),
        lambda _: workflow.GetRunningWorkflowsRequest(),
        INTERNAL,
    ),
    "GetWorkflowStatus": _of_workflow(workflow.GetWorkflowStatusRequest, Scene.running),
    "GetWorkflows": Rpc(
        lambda _: workflow.GetWorkflowsRequest(name="none", correlation_id=["c"]),
        lambda _: workflow.GetWorkflowsRequest(correlation_id=["c"]),
        UNKNOWN,
    ),
    "PauseWorkflow": _of_workflow(workflow.PauseWorkflowRequest, Scene.running, Scene.failed),
    "RemoveWorkflow": Rpc(
        lambda s: workflow.RemoveWorkflowRequest(workflod_id=s.failed()),
        lambda _: workflow.RemoveWorkflowRequest(workflod_id=NO_ID),
        INTERNAL,
    ),
    "RerunWorkflow": Rpc(
        lambda s: _rerun(s.completed()), lambda s: RerunWorkflowRequest(re_run_from_workflow_id=s.failed()), INTERNAL
    ),
    "ResetWorkflowCallbacks": _of_workflow(workflow.ResetWorkflowCallbacksRequest, Scene.running, Scene.failed),
    "RestartWorkflow": _of_workflow(workflow.RestartWorkflowRequest, Scene.failed, Scene.running),
    "ResumeWorkflow": _of_workflow(workflow.ResumeWorkflowRequest, Scene.paused, Scene.running),
    "RetryWorkflow": _of_workflow(workflow.RetryWorkflowRequest, Scene.failed, Scene.running),
    "Search": _SEARCH,
    "SearchByTasks": _SEARCH,
    "SearchByTasksV2": _SEARCH,
    "SearchV2": _SEARCH,
    "SkipTaskFromWorkflow": Rpc(
        lambda s: workflow.SkipTaskRequest(workflow_id=_two_tasks(s), task_reference_name="second"),
        lambda s: workflow.SkipTaskRequest(workflow_id=_two_tasks(s), task_reference_name="first"),
        INTERNAL,
    ),
    "StartWorkflow": Rpc(
        lambda s: StartWorkflowRequest(name=s.server.workflow(simple("t"))),
        lambda s: StartWorkflowRequest(name=s.server.unique()),
        NOT_FOUND,
    ),
    "TerminateWorkflow": _of_workflow(
        workflow.TerminateWorkflowRequest, Scene.running, lambda s: s.completed().workflow_instance_id
    ),
}

METADATA_SERVICE: Mapping[str, Rpc] = {
    "CreateTasks": Rpc(
        lambda s: metadata.CreateTasksRequest(defs=[s.task_definition()]),
        lambda s: metadata.CreateTasksRequest(defs=[s.task_definition(response_timeout_seconds=0)]),
        UNKNOWN,
    ),
    "CreateWorkflow": Rpc(
        lambda s: metadata.CreateWorkflowRequest(workflow=s.server.workflow_definition(simple("t"))),
        lambda s: metadata.CreateWorkflowRequest(workflow=s.server.workflow_definition()),
        UNKNOWN,
    ),
    "DeleteTask": Rpc(
        lambda s: metadata.DeleteTaskRequest(task_type=s.server.task_definition()),
        lambda s: metadata.DeleteTaskRequest(task_type=s.server.unique()),
        UNKNOWN,
    ),
    "GetTask": Rpc(
        lambda s: metadata.GetTaskRequest(task_type=s.server.task_definition()),
        lambda s: metadata.GetTaskRequest(task_type=s.server.unique()),
        UNKNOWN,
    ),
    "GetWorkflow": Rpc(
        lambda s: metadata.GetWorkflowRequest(name=s.server.workflow(simple("t"))),
        lambda s: metadata.GetWorkflowRequest(name=s.server.unique()),
        NOT_FOUND,
    ),
    "UpdateTask": Rpc(
        lambda s: metadata.UpdateTaskRequest(task=s.task_definition(name=s.server.task_definition())),
        lambda s: metadata.UpdateTaskRequest(task=s.task_definition()),
        UNKNOWN,
    ),
    "UpdateWorkflows": Rpc(
        lambda s: metadata.UpdateWorkflowsRequest(defs=[s.server.workflow_definition(simple("t"))]),
        lambda _: metadata.UpdateWorkflowsRequest(),
        UNKNOWN,
    ),
    "ValidateWorkflow": Rpc(
        lambda s: metadata.ValidateWorkflowRequest(workflow=s.server.workflow_definition(simple("t"))),
        lambda s: metadata.ValidateWorkflowRequest(workflow=s.server.workflow_definition()),
        UNKNOWN,
    ),
}

EVENT_SERVICE: Mapping[str, Rpc] = {
    "AddEventHandler": Rpc(
        lambda s: event.AddEventHandlerRequest(handler=s.handler(known=False)),
        lambda s: event.AddEventHandlerRequest(handler=s.handler(known=True)),
        UNKNOWN,
    ),
    "GetEventHandlers": Rpc(lambda _: event.GetEventHandlersRequest(), lambda _: UNPARSABLE, UNKNOWN),
    "GetEventHandlersForEvent": Rpc(
        lambda _: event.GetEventHandlersForEventRequest(event="none"),
        lambda _: event.GetEventHandlersForEventRequest(),
        UNKNOWN,
    ),
    "RemoveEventHandler": Rpc(
        lambda s: event.RemoveEventHandlerRequest(name=s.handler(known=True).name),
        lambda s: event.RemoveEventHandlerRequest(name=s.handler(known=False).name),
        UNKNOWN,
    ),
    "UpdateEventHandler": Rpc(
        lambda s: event.UpdateEventHandlerRequest(handler=s.handler(known=True)),
        lambda s: event.UpdateEventHandlerRequest(handler=s.handler(known=False)),
        UNKNOWN,
    ),
}

RPCS: Mapping[str, Rpc] = {
    f"{service}/{method}": rpc
    for service, methods in (
        ("conductor.grpc.tasks.TaskService", TASK_SERVICE),
        ("conductor.grpc.workflows.WorkflowService", WORKFLOW_SERVICE),
        ("conductor.grpc.metadata.MetadataService", METADATA_SERVICE),
        ("conductor.grpc.events.EventService", EVENT_SERVICE),
    )
    for method, rpc in methods.items()
}


def _rerun(completed: Task) -> RerunWorkflowRequest:
    return RerunWorkflowRequest(
        re_run_from_workflow_id=completed.workflow_instance_id, re_run_from_task_id=completed.task_id
    )


def _two_tasks(scene: Scene) -> str:
    """The id of a running workflow whose second task is not yet scheduled."""
    return scene.server.start(scene.server.workflow(simple("t", "first"), simple("t", "second")))
