"""The six searches of TaskService and WorkflowService, and the executions that their cases look for."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from wire import Failure, simple

from conductor_grpc.pb.services.search_pb2 import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task
    from conductor_grpc.pb.model.tasksummary_pb2 import TaskSummary
    from conductor_grpc.pb.model.workflow_pb2 import Workflow
    from conductor_grpc.pb.model.workflowsummary_pb2 import WorkflowSummary
    from conductor_grpc.pb.services.task_service_pb2 import TaskSearchResult, TaskSummarySearchResult
    from conductor_grpc.pb.services.workflow_service_pb2 import WorkflowSearchResult, WorkflowSummarySearchResult

NO_INDEX = "search finds nothing, whatever the query: there is no index"
BAD_QUERY = Failure(grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)
TOO_MANY = Failure(grpc.StatusCode.INVALID_ARGUMENT, "Cannot return more than 5000 results", None)


def tasks(server: ServerUnderTest, query: str = "", **request: Any) -> TaskSummarySearchResult:
    return server.tasks.Search(Request(query=query, **request))


def tasks_v2(server: ServerUnderTest, query: str = "", **request: Any) -> TaskSearchResult:
    return server.tasks.SearchV2(Request(query=query, **request))


def workflows(server: ServerUnderTest, query: str = "", **request: Any) -> WorkflowSummarySearchResult:
    return server.workflows.Search(Request(query=query, **request))


def workflows_v2(server: ServerUnderTest, query: str = "", **request: Any) -> WorkflowSearchResult:
    return server.workflows.SearchV2(Request(query=query, **request))


def workflows_by_tasks(server: ServerUnderTest, query: str = "", **request: Any) -> WorkflowSummarySearchResult:
    return server.workflows.SearchByTasks(Request(query=query, **request))


def workflows_by_tasks_v2(server: ServerUnderTest, query: str = "", **request: Any) -> WorkflowSearchResult:
    return server.workflows.SearchByTasksV2(Request(query=query, **request))


def indexed(server: ServerUnderTest, hits: list[Any]) -> list[Any]:
    """What a search finds of these hits."""
    return [] if server.name == "redis" else hits


def iso(milliseconds: int) -> str:
    """A time as summaries have it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Population(NamedTuple):
    """Four executions of one workflow of one task, by what has become of the task; a task type of their own.

    Their correlation ids and priorities are c0 to c3 and 0 to 3 in this order.
    """

    task_type: str
    workflow_name: str
    completed: Task
    failed: Task
    in_progress: Task
    waiting: str
    """The workflow id of the one whose task nobody has polled."""

    @property
    def workflow_ids(self) -> dict[str, str]:
        return {
            "completed": self.completed.workflow_instance_id,
            "failed": self.failed.workflow_instance_id,
            "in progress": self.in_progress.workflow_instance_id,
            "waiting": self.waiting,
        }

    def fill_in(self, query: str) -> str:
        """A query in which TYPE and NAME stand for task type and workflow name, and so on."""
        words = {
            "TYPE": self.task_type,
            "NAME": self.workflow_name,
            "TASK_ID": self.completed.task_id,
            "OTHER_ID": self.failed.task_id,
            "WORKFLOW_ID": self.completed.workflow_instance_id,
            "BEFORE": str(self.completed.scheduled_time - 1000),
        }
        for word, meaning in words.items():
            query = query.replace(word, meaning)
        return query

    def tasks_named(self, found: Iterable[Task | TaskSummary]) -> list[str]:
        """Which of the tasks were found, in the order in which they were."""
        names = {
            self.completed.task_id: "completed",
            self.failed.task_id: "failed",
            self.in_progress.task_id: "in progress",
        }
        return [names.get(task.task_id, "foreign") for task in found]

    def workflows_named(self, found: Iterable[Workflow | WorkflowSummary]) -> list[str]:
        names = {workflow_id: name for name, workflow_id in self.workflow_ids.items()}
        return [names.get(workflow.workflow_id, "foreign") for workflow in found]


def populate(server: ServerUnderTest) -> Population:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type, "only", input_parameters={"x": "${workflow.input.x}"}))
    taken: list[Task] = []
    for number in range(3):
        server.start(name, {"x": number, "text": f"hay needle{number}"}, correlation_id=f"c{number}", priority=number)
        taken.append(server.take(task_type))
    waiting = server.start(name, {"x": 3}, correlation_id="c3", priority=3)
    completed, failed, in_progress = taken
    server.complete(completed, out=1)
    server.fail(failed, "because")
    return Population(
        task_type, name, server.task(completed.task_id), server.task(failed.task_id), in_progress, waiting
    )
