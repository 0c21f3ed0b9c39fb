"""One running server as the contract cases see it: the generated stubs over plain grpcio, and nothing of our clients.

What a case reads here is what went over the wire. The helpers only save typing: they fill in what a definition must
have, send one request, and give back the answer's own message.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from wire import TERMINAL_WORKFLOW, simple, values

from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.services import metadata_service_pb2, task_service_pb2, workflow_service_pb2
from conductor_grpc.pb.services.event_service_pb2_grpc import EventServiceStub
from conductor_grpc.pb.services.metadata_service_pb2_grpc import MetadataServiceStub
from conductor_grpc.pb.services.task_service_pb2_grpc import TaskServiceStub
from conductor_grpc.pb.services.workflow_service_pb2_grpc import WorkflowServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from conductor_grpc.pb.model.task_pb2 import Task
    from conductor_grpc.pb.model.workflow_pb2 import Workflow
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

    class Clock(Protocol):
        """The clock of an embedded server."""

        def now(self) -> int: ...
        def advance(self, seconds: float) -> None: ...


T = TypeVar("T")

OWNER = "owner@example.com"
CALL_SECONDS = 30.0
"""Deadline of a call that names none: longer than any poll, so that only a server that hangs meets it."""
_LOOK_EVERY = 0.05

_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A Java stack trace in a trailer is longer than what grpcio takes by default.
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 1 << 21),
]


class ServerUnderTest:
    """A server, its address and the four services.

    :param name: ``embedded``, ``sqlite`` or ``redis``.
    :param target: gRPC address, ``host:port``.
    :param base_url: REST address, ending in ``/api``; None where there is no REST.
    :param clock: the server's own clock, where a test may move it.
    """

    def __init__(self, name: str, target: str, base_url: str | None, clock: Clock | None = None) -> None:
        self.name = name
        self.target = target
        self.base_url = base_url
        self._clock = clock
        self._channel = self.new_channel()
        channel = grpc.intercept_channel(self._channel, _Deadline())
        self.tasks = TaskServiceStub(channel)
        self.workflows = WorkflowServiceStub(channel)
        self.metadata = MetadataServiceStub(channel)
        self.events = EventServiceStub(channel)

    def new_channel(self) -> grpc.Channel:
        """A channel of the caller's own, to be closed by it; its calls have no deadline."""
        return grpc.insecure_channel(self.target, options=_OPTIONS)

    def close(self) -> None:
        self._channel.close()

    # -- definitions --

    def unique(self, prefix: str = "t") -> str:
        """A name that no other case uses."""
        return f"{prefix}_{uuid.uuid4().hex[:12]}"

    def task_definition(self, name: str | None = None, **fields: Any) -> str:
        """Registers a task definition without retries and with a long response timeout; its name."""
        name = name or self.unique()
        definition = TaskDef(**{**_TASK_DEFINITION, **fields, "name": name})
        self.metadata.CreateTasks(metadata_service_pb2.CreateTasksRequest(defs=[definition]))
        return name

    def workflow(self, *tasks: WorkflowTask, name: str | None = None, **fields: Any) -> str:
        """Registers a workflow definition, version 1, of these tasks; its name."""
        definition = self.workflow_definition(*tasks, name=name, **fields)
        self.metadata.CreateWorkflow(metadata_service_pb2.CreateWorkflowRequest(workflow=definition))
        return definition.name

    def workflow_definition(self, *tasks: WorkflowTask, name: str | None = None, **fields: Any) -> WorkflowDef:
        """What :meth:`workflow` registers. Maps of payload may be given as plain dicts."""
        for field in ("output_parameters", "variables", "input_template", "metadata"):
            if field in fields:
                fields[field] = values(fields[field])
        return WorkflowDef(**{**_WORKFLOW_DEFINITION, **fields, "name": name or self.unique("wf"), "tasks": tasks})

    # -- executions --

    def start(self, name: str, input: Mapping[str, Any] | None = None, **fields: Any) -> str:  # noqa: A002
        """Starts the latest version, unless ``version`` says another; the workflow id."""
        request = StartWorkflowRequest(name=name, input=values(input or {}), **fields)
        return self.workflows.StartWorkflow(request).workflow_id

    def start_task(self, input: Mapping[str, Any] | None = None, **definition: Any) -> tuple[str, str]:  # noqa: A002
        """Starts a workflow of one task with a task definition of its own; its task type and the workflow id.

        :param input: the input of the workflow and of the task.
        :param definition: fields of the task definition.
        """
        task_type = self.task_definition(**definition)
        parameters = {key: f"${{workflow.input.{key}}}" for key in input or {}}
        return task_type, self.start(self.workflow(simple(task_type, input_parameters=parameters)), input)

    def get(self, workflow_id: str, tasks: bool = True) -> Workflow:
        request = workflow_service_pb2.GetWorkflowStatusRequest(workflow_id=workflow_id, include_tasks=tasks)
        return self.workflows.GetWorkflowStatus(request)

    def task(self, task_id: str) -> Task:
        return self.tasks.GetTask(task_service_pb2.GetTaskRequest(task_id=task_id)).task

    def decide(self, workflow_id: str) -> None:
        """Makes the server look at the workflow now, which a sweep would do later."""
        self.workflows.DecideWorkflow(workflow_service_pb2.DecideWorkflowRequest(workflow_id=workflow_id))

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        request = workflow_service_pb2.TerminateWorkflowRequest(workflow_id=workflow_id, reason=reason)
        self.workflows.TerminateWorkflow(request)

    # -- a worker's calls --

    def poll(self, task_type: str, count: int = 1, wait: int = 1000, worker: str = "w", domain: str = "") -> list[Task]:
        """The tasks of one BatchPoll; ``wait`` is its timeout in milliseconds."""
        request = task_service_pb2.BatchPollRequest(
            task_type=task_type, worker_id=worker, domain=domain, count=count, timeout=wait
        )
        return list(self.tasks.BatchPoll(request))

    def queue_size(self, queue: str) -> int:
        """How many tasks the queue has, ready or postponed; its name is ``[domain:]task type``."""
        request = task_service_pb2.QueueSizesRequest(task_types=[queue])
        return self.tasks.GetQueueSizesForTasks(request).queue_for_task[queue]

    def take(self, task_type: str, **poll: Any) -> Task:
        """The one task that there is of this type, as one BatchPoll of up to 5 s gives it."""
        polled = self.poll(task_type, **{"wait": 5000, **poll})
        assert len(polled) == 1, f"expected one task of {task_type}, got {polled}"
        return polled[0]

    def update(self, task: Task, status: str | int, output: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Sends a TaskResult; ``fields`` are more of its fields, and win over what is taken from the task."""
        taken = {
            "workflow_instance_id": task.workflow_instance_id,
            "task_id": task.task_id,
            "worker_id": task.worker_id,
        }
        result = TaskResult(**{**taken, "status": status, "output_data": values(output or {}), **fields})
        self.tasks.UpdateTask(task_service_pb2.UpdateTaskRequest(result=result))

    def complete(self, task: Task, **output: Any) -> None:
        self.update(task, "COMPLETED", output)

    def fail(self, task: Task, reason: str = "") -> None:
        self.update(task, "FAILED", reason_for_incompletion=reason)

    # -- time --

    def pass_time(self, seconds: float) -> None:
        """Lets so much time go by on the server: a moved clock where there is one, else a wait."""
        if self._clock is None:
            time.sleep(seconds)
        else:
            self._clock.advance(seconds)

    def seconds(self) -> float:
        """A clock to measure with, which :meth:`pass_time` moves. Only differences mean anything."""
        return time.monotonic() if self._clock is None else self._clock.now() / 1000

    def until(self, condition: Callable[[], T], seconds: float = 30.0) -> T:
        """Looks until the condition gives something true, which it returns; fails after so many seconds of the server.

        The clock of an embedded server is moved between two looks, so only a failure takes long there.
        """
        end = self.seconds() + seconds
        while not (found := condition()):
            assert self.seconds() < end, f"it did not come true within {seconds} s; last seen: {found!r}"
            if self._clock is not None:
                time.sleep(0.002)  # for what the server does in threads of its own
            self.pass_time(_LOOK_EVERY)
        return found

    def ended(self, workflow_id: str, seconds: float = 30.0) -> Workflow:
        """The workflow once it has reached a terminal status."""

        def look() -> Workflow | None:
            workflow = self.get(workflow_id)
            return workflow if workflow.status in TERMINAL_WORKFLOW else None

        found = self.until(look, seconds)
        assert found is not None
        return found


_TASK_DEFINITION = {
    "response_timeout_seconds": 600,
    "backoff_scale_factor": 1,
    "timeout_policy": "TIME_OUT_WF",
    "rate_limit_frequency_in_seconds": 1,
    "task_status_listener_enabled": True,
    "owner_email": OWNER,
}
_WORKFLOW_DEFINITION = {
    "version": 1,
    "schema_version": 2,
    "restartable": True,
    "timeout_policy": "ALERT_ONLY",
    "enforce_schema": True,
    "owner_email": OWNER,
}


class _Deadline(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Gives a deadline to the calls that name none."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_with_deadline(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_with_deadline(details), request)


class _Details(grpc.ClientCallDetails):
    def __init__(self, given: Any) -> None:
        self.method = given.method
        self.timeout = CALL_SECONDS
        self.metadata = given.metadata
        self.credentials = given.credentials
        self.wait_for_ready = given.wait_for_ready
        self.compression = given.compression


def _with_deadline(details: Any) -> Any:
    return details if details.timeout is not None else _Details(details)
