"""Starting, watching and steering workflows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from conductor_grpc.clients.base import UNREADABLE, required
from conductor_grpc.clients.requests import start_request
from conductor_grpc.clients.results import WorkflowStatus, WorkflowSummary
from conductor_grpc.clients.search import SearchingClient
from conductor_grpc.clients.waiting import looks
from conductor_grpc.clients.workflow_run import Workflow
from conductor_grpc.errors import (
    PayloadDecodeError,
    ServerError,
    WaitTimeoutError,
)
from conductor_grpc.payload import encode_map
from conductor_grpc.pb.model import rerunworkflowrequest_pb2, skiptaskrequest_pb2
from conductor_grpc.pb.services import workflow_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message
    from typing_extensions import Unpack

    from conductor_grpc.clients.search import SearchOptions, SearchResult
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef

_LONGEST_BETWEEN_LOOKS = 2.0


class WorkflowClient(SearchingClient):
    """The workflow service: 18 RPCs. See `ServiceClient` for threads, timeouts and errors common to all methods.

    The server cannot send over gRPC a workflow that holds a JSON integer anywhere (started by REST or the UI,
    or made by a system task). Where a method says "falls back to REST", it then reads the same from the
    configuration's `base_url`, if there is one.
    """

    _service = workflow_service_pb2.DESCRIPTOR.services_by_name["WorkflowService"]

    def start(
        self,
        name: str,
        input: Mapping[str, object] | None = None,  # noqa: A002 - what Conductor calls it
        *,
        version: int | None = None,
        correlation_id: str = "",
        priority: int = 0,
        task_to_domain: Mapping[str, str] | None = None,
        workflow_definition: Mapping[str, object] | str | WorkflowDef | None = None,
        external_input_payload_storage_path: str = "",
        created_by: str = "",
        timeout: float | None = None,
    ) -> str:
        """Starts a workflow and returns its id. Its first tasks are scheduled when this returns.

        `version` None is the latest. `priority` is 0 to 99. `workflow_definition` runs that definition (JSON
        or proto) without registering it; `name` must be its name. Every call starts another workflow,
        whatever the correlation id: do not repeat one whose outcome is not known. With an empty input the
        server leaves out the definition's inputTemplate (3.32.1, gRPC only): pass at least one key.
        `created_by` is ignored by 3.32.1.

        Raises NotFoundError for an unknown name or version, PayloadEncodeError for an input that is not JSON,
        DefinitionError for a bad definition, ValueError for a priority out of range.
        """
        request = start_request(
            name=required("name", name),
            version=version,
            correlation_id=correlation_id,
            priority=priority,
            task_to_domain=task_to_domain,
            workflow_definition=workflow_definition,
            external_input_payload_storage_path=external_input_payload_storage_path,
            created_by=created_by,
        )
        field = request.DESCRIPTOR.fields_by_name["input"].number
        encoded = encode_map(input or {}, field, self.configuration.big_integers)
        answer = self._call("StartWorkflow", request.SerializeToString() + encoded, timeout)
        return workflow_service_pb2.StartWorkflowResponse.FromString(answer).workflow_id

    def start_and_wait(
        self,
        name: str,
        input: Mapping[str, object] | None = None,  # noqa: A002 - what Conductor calls it
        *,
        timeout: float,
        version: int | None = None,
        correlation_id: str = "",
        priority: int = 0,
        task_to_domain: Mapping[str, str] | None = None,
        workflow_definition: Mapping[str, object] | str | WorkflowDef | None = None,
    ) -> Workflow:
        """`start`, then `wait`: the ended workflow with its tasks, whatever its status.

        `timeout` is for both, in seconds; a start that has been sent is not broken off by it, for then nobody
        would know its id. Raises as they do; WaitTimeoutError carries the workflow's id.
        """
        deadline = time.monotonic() + timeout
        workflow_id = self.start(
            name,
            input,
            version=version,
            correlation_id=correlation_id,
            priority=priority,
            task_to_domain=task_to_domain,
            workflow_definition=workflow_definition,
        )
        return self.wait(workflow_id, timeout=max(0.0, deadline - time.monotonic()))

    def wait(self, workflow_id: str, *, timeout: float) -> Workflow:
        """Blocks until the workflow has ended, at most `timeout` seconds; returns it with its tasks.

        Asks the server at once, then ever less often, every 2 s in the end; an error that may pass is not one
        until the time is up. The last question is asked when it is, and a server that is silent then gets 1 s.
        Falls back to REST. A paused workflow has not ended.

        Raises WaitTimeoutError (the workflow goes on), NotFoundError.
        """
        status = "unknown"
        failure: ServerError | None = None
        for patience in looks(timeout, _LONGEST_BETWEEN_LOOKS):
            most = min(patience, self.configuration.call_timeout)
            try:
                workflow = self.get(workflow_id, include_tasks=False, timeout=most)
                status, failure = workflow.status.value, None
                if workflow.status.is_terminal:
                    return self.get(workflow_id)
            except ServerError as error:
                if not error.kind.retryable:
                    raise
                failure = error
        raise WaitTimeoutError(
            f"workflow {workflow_id} is {status} after {timeout} s; it goes on running on the server. Wait"
            " longer, or look where it stands with get()",
            workflow_id,
        ) from failure

    def get(self, workflow_id: str, *, include_tasks: bool = True, timeout: float | None = None) -> Workflow:
        """The workflow as it stands. Falls back to REST.

        Raises NotFoundError; UnmappablePayloadError if it holds an integer and there is no REST address.
        """
        request = workflow_service_pb2.GetWorkflowStatusRequest(
            workflow_id=required("workflow_id", workflow_id), include_tasks=include_tasks
        )
        try:
            return Workflow.from_wire(self._call("GetWorkflowStatus", request, timeout))
        except UNREADABLE:
            rest = self._rest_client()
            if rest is None:
                raise
            path = f"/workflow/{quote(workflow_id, safe='')}"
            return Workflow.from_json(_object(rest.get_json(path, {"includeTasks": _flag(include_tasks)})))

    def status(self, workflow_id: str, *, timeout: float | None = None) -> WorkflowStatus:
        """The workflow's status. Falls back to REST. Raises as `get`."""
        return self.get(workflow_id, include_tasks=False, timeout=timeout).status

    def get_by_correlation_ids(
        self,
        name: str,
        correlation_ids: Iterable[str],
        *,
        include_closed: bool = False,
        include_tasks: bool = False,
        timeout: float | None = None,
    ) -> dict[str, list[Workflow]]:
        """The workflows with this name and each of the correlation ids, by correlation id.

        `include_closed` False leaves out what is not RUNNING, paused workflows too. Falls back to REST.
        """
        ids = [correlation_ids] if isinstance(correlation_ids, str) else list(correlation_ids)
        request = workflow_service_pb2.GetWorkflowsRequest(
            name=required("name", name),
            correlation_id=ids,
            include_closed=include_closed,
            include_tasks=include_tasks,
        )
        try:
            answer = workflow_service_pb2.GetWorkflowsResponse.FromString(self._call("GetWorkflows", request, timeout))
        except UNREADABLE:
            rest = self._rest_client()
            if rest is None:
                raise
            query: dict[str, object] = {
                "includeClosed": _flag(include_closed),
                "includeTasks": _flag(include_tasks),
            }
            found: dict[str, list[Workflow]] = {}
            for each in ids:
                path = f"/workflow/{quote(name, safe='')}/correlated/{quote(each, safe='')}"
                found[each] = [Workflow.from_json(_object(one)) for one in _list(rest.get_json(path, query))]
            return found
        return {
            each: [Workflow.from_wire(one.SerializeToString()) for one in run.workflows]
            for each, run in answer.workflows_by_id.items()
        }

    def running(
        self,
        name: str,
        *,
        version: int | None = None,
        start_time: int = 0,
        end_time: int = 0,
        timeout: float | None = None,
    ) -> list[str]:
        """The ids of running workflows with this name.

        With both times (milliseconds since the epoch): of those started between them, of exactly that
        `version` (None: 1). Without: of all, whatever `version` says (3.32.1).
        """
        request = workflow_service_pb2.GetRunningWorkflowsRequest(
            name=required("name", name), version=version or 1, start_time=start_time, end_time=end_time
        )
        answer = self._call("GetRunningWorkflows", request, timeout)
        return list(workflow_service_pb2.GetRunningWorkflowsResponse.FromString(answer).workflow_ids)

    def decide(self, workflow_id: str, *, timeout: float | None = None) -> None:
        """Makes the server look at once which tasks to schedule; otherwise it does so on every update."""
        self._do("DecideWorkflow", workflow_id, workflow_service_pb2.DecideWorkflowRequest, timeout)

    def pause(self, workflow_id: str, *, timeout: float | None = None) -> None:
        """No further tasks are scheduled; those that are scheduled already are still handed out to workers.

        Raises ConflictError if the workflow has ended. A paused one stays paused.
        """
        self._do("PauseWorkflow", workflow_id, workflow_service_pb2.PauseWorkflowRequest, timeout)

    def resume(self, workflow_id: str, *, timeout: float | None = None) -> None:
        """Ends a pause. Raises ConflictError if the workflow is not paused."""
        self._do("ResumeWorkflow", workflow_id, workflow_service_pb2.ResumeWorkflowRequest, timeout)

    def reset_callbacks(self, workflow_id: str, *, timeout: float | None = None) -> None:
        """Makes postponed tasks (IN_PROGRESS with a callback) available at once. Not for an ended workflow."""
        self._do("ResetWorkflowCallbacks", workflow_id, workflow_service_pb2.ResetWorkflowCallbacksRequest, timeout)

    def terminate(self, workflow_id: str, reason: str = "", *, timeout: float | None = None) -> None:
        """Ends the workflow as TERMINATED and cancels its open tasks; no failure workflow is started.

        A failed or timed out workflow becomes TERMINATED, a terminated one stays so; raises ConflictError for
        a completed one.
        """
        request = workflow_service_pb2.TerminateWorkflowRequest(
            workflow_id=required("workflow_id", workflow_id), reason=reason
        )
        self._call("TerminateWorkflow", request, timeout)

    def retry(self, workflow_id: str, *, resume_subworkflow_tasks: bool = False, timeout: float | None = None) -> None:
        """Goes on with a failed workflow: its last failed task is tried again.

        `resume_subworkflow_tasks`: a failed sub-workflow goes on where it failed instead of starting anew.
        Raises ConflictError if the workflow runs or has nothing to retry.
        """
        request = workflow_service_pb2.RetryWorkflowRequest(
            workflow_id=required("workflow_id", workflow_id),
            resume_subworkflow_tasks=resume_subworkflow_tasks,
        )
        self._call("RetryWorkflow", request, timeout)

    def restart(self, workflow_id: str, *, use_latest_definitions: bool = False, timeout: float | None = None) -> None:
        """Runs an ended workflow again from its first task, under the same id and with the same input.

        Raises ConflictError if it has not ended, or has COMPLETED and is not restartable.
        """
        request = workflow_service_pb2.RestartWorkflowRequest(
            workflow_id=required("workflow_id", workflow_id), use_latest_definitions=use_latest_definitions
        )
        self._call("RestartWorkflow", request, timeout)

    def rerun(
        self,
        workflow_id: str,
        from_task_id: str,
        *,
        task_input: Mapping[str, object] | None = None,
        workflow_input: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Runs an ended workflow again from one of its tasks on; returns the workflow's id.

        None keeps what there is. Over gRPC the server takes an absent input for an empty one and stores that,
        so the workflow is read first (falls back to REST) and what is kept is sent along; numbers in it
        become floating point on the server. A rerun from the very first task is `restart`: gRPC has no other.

        Raises ValueError if the workflow has no task with that id, or if an input to be kept lies in external
        storage (pass it then); ConflictError if the workflow has not ended.
        """
        required("from_task_id", from_task_id)
        workflow = self.get(workflow_id, timeout=timeout)
        task = next((each for each in workflow.tasks if each.task_id == from_task_id), None)
        if task is None:
            known = ", ".join(f"{each.task_id} ({each.reference_task_name})" for each in workflow.tasks)
            raise ValueError(f"workflow {workflow_id} has no task with the id {from_task_id!r}; it has: {known}")
        if workflow_input is None and workflow.external_input_payload_storage_path:
            raise ValueError(f"the input of workflow {workflow_id} is in external storage: pass workflow_input")
        if task_input is None and task.external_input_payload_storage_path:
            raise ValueError(f"the input of task {from_task_id} is in external storage: pass task_input")
        request = rerunworkflowrequest_pb2.RerunWorkflowRequest(
            re_run_from_workflow_id=workflow_id,
            re_run_from_task_id=from_task_id,
            correlation_id=workflow.correlation_id if correlation_id is None else correlation_id,
        )
        self._merge(request, "workflow_input", workflow.input if workflow_input is None else workflow_input)
        self._merge(request, "task_input", task.input_data if task_input is None else task_input)
        answer = self._call("RerunWorkflow", request, timeout)
        return workflow_service_pb2.RerunWorkflowResponse.FromString(answer).workflow_id

    def skip_task(
        self,
        workflow_id: str,
        task_reference_name: str,
        *,
        task_input: Mapping[str, object] | None = None,
        task_output: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Makes a running workflow go past a task that it has not reached yet, as if it had this output.

        Raises ConflictError if the workflow does not run, has no such task or has scheduled it already.
        """
        details = skiptaskrequest_pb2.SkipTaskRequest()
        self._merge(details, "task_input", task_input or {})
        self._merge(details, "task_output", task_output or {})
        request = workflow_service_pb2.SkipTaskRequest(
            workflow_id=required("workflow_id", workflow_id),
            task_reference_name=required("task_reference_name", task_reference_name),
            request=details,
        )
        self._call("SkipTaskFromWorkflow", request, timeout)

    def remove(self, workflow_id: str, *, archive: bool = True, timeout: float | None = None) -> None:
        """Deletes a workflow. `archive` keeps it in the index, and refuses one that has not ended.

        `archive=False` deletes a running one too: its workers' updates then fail. Raises NotFoundError.
        """
        request = workflow_service_pb2.RemoveWorkflowRequest(
            workflod_id=required("workflow_id", workflow_id), archive_workflow=archive
        )
        self._call("RemoveWorkflow", request, timeout)

    def search(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[WorkflowSummary]:
        """Workflows in the server's index, e.g. `query="workflowType=orders AND status IN (FAILED,TIMED_OUT)"`.

        Options: `free_text`, `sort`, `start`, `size`, `timeout`, see `SearchOptions`. A query that the server
        does not understand is UnknownServerError, a field that it does not know matches everything. Without an
        index nothing is found.
        """
        return self._search("Search", WorkflowSummary.from_wire, query, options)

    def search_v2(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[Workflow]:
        """As `search`, with whole workflows (without their tasks) read from the server's database.

        Raises UnknownServerError also if a hit holds an integer: use `search`, and `get` for each.
        """
        return self._search("SearchV2", Workflow.from_wire, query, options)

    def search_by_tasks(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[WorkflowSummary]:
        """As `search`, but the query is about tasks, e.g. `taskType=ship AND status=FAILED`; their workflows."""
        return self._search("SearchByTasks", WorkflowSummary.from_wire, query, options)

    def search_by_tasks_v2(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[Workflow]:
        """As `search_by_tasks`, with whole workflows (without their tasks); raises as `search_v2`."""
        return self._search("SearchByTasksV2", Workflow.from_wire, query, options)

    def _do(self, method: str, workflow_id: str, request: type[Message], timeout: float | None) -> None:
        self._call(method, request(workflow_id=required("workflow_id", workflow_id)), timeout)

    def _merge(self, message: Message, field: str, values: Mapping[str, object]) -> None:
        number = message.DESCRIPTOR.fields_by_name[field].number
        message.MergeFromString(encode_map(values, number, self.configuration.big_integers))


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _object(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise PayloadDecodeError(f"expected a workflow as a JSON object, got {document!r:.100}")
    return document


def _list(document: object) -> list[object]:
    if not isinstance(document, list):
        raise PayloadDecodeError(f"expected a list of workflows, got {document!r:.100}")
    return document
