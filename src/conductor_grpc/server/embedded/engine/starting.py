"""Starting a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.failures import (
    IllegalArgumentFailure,
    NonTransientFailure,
    NotFoundFailure,
    TerminateWorkflow,
)
from conductor_grpc.server.embedded.engine.keep_last import check_keep_last
from conductor_grpc.server.embedded.engine.records import WorkflowRecord
from conductor_grpc.server.embedded.engine.scheduling import enter, first_tasks
from conductor_grpc.server.embedded.engine.tasks import filled_in, new_id
from conductor_grpc.server.embedded.engine.values import from_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord


def start_workflow(
    engine: Engine,
    name: str,
    workflow_input: Payload,
    *,
    version: int | None = None,
    definition: WorkflowDef | None = None,
    correlation_id: str = "",
    priority: int = 0,
    task_to_domain: Mapping[str, str] | None = None,
    external_input_path: str = "",
    parent: TaskRecord | None = None,
) -> WorkflowRecord:
    """Starts an execution; what the engine runs itself begins when the transaction ends.

    :param version: None for the latest.
    :param definition: taken instead of a registered one.
    :param parent: the SUB_WORKFLOW task that it is started by.
    :raises IllegalArgumentFailure: neither name nor definition.
    :raises NotFoundFailure: nothing is registered under this name and version.
    :raises EngineError: it cannot be executed, or its first tasks cannot be scheduled.
    """
    with engine.transaction():
        if definition is None and not name:
            raise IllegalArgumentFailure("Workflow name must be specified when searching for a definition")
        if definition is None:
            definition = engine.registry.workflow_definition(name, version)
        if definition is None:
            asked = "null" if version is None else version
            raise NotFoundFailure(f"No such workflow defined. name={name}, version={asked}")
        if external_input_path:
            # There is no such storage. The released server finds that out later, and then keeps nothing of it.
            raise NonTransientFailure(f"Unable to download payload from external storage path: {external_input_path}")
        plan = engine.registry.plan(definition)
        check_keep_last(plan, strict=engine.strict)
        # An empty input is left as it is: the released server applies the template only over REST then.
        template = from_values(definition.input_template) if workflow_input else {}
        workflow = WorkflowRecord(
            workflow_id=new_id(),
            plan=plan,
            input=filled_in(workflow_input, template),
            variables=from_values(definition.variables),
            create_time=engine.clock.now(),
            correlation_id=correlation_id,
            priority=priority,
            task_to_domain=dict(task_to_domain or {}),
            external_input_path=external_input_path,
            parent_workflow_id=parent.workflow.workflow_id if parent else "",
            parent_workflow_task_id=parent.task_id if parent else "",
        )
        engine.shelf.add(workflow)
        engine.touch(workflow)
        engine.decide_soon(workflow)
        try:
            enter(engine, workflow, first_tasks(engine, workflow))
        except TerminateWorkflow:
            pass  # the decision comes to the same end, and draws the conclusions
        except Exception:
            engine.remove(workflow)
            raise
        return workflow
