"""Definitions, a run and its end, by the clients."""

from __future__ import annotations

from conductor_grpc import Configuration, MetadataClient, Workflow, WorkflowClient

OWNER = "example@example.com"
TASK = {"name": "greet_by_name", "ownerEmail": OWNER, "retryCount": 3, "responseTimeoutSeconds": 60}
WORKFLOW = {
    "name": "greetings",
    "ownerEmail": OWNER,
    "tasks": [
        {"name": "greet_by_name", "taskReferenceName": "greet", "inputParameters": {"name": "${workflow.input.name}"}},
    ],
    "outputParameters": {"greeting": "${greet.output.result}"},
}


def greet(name: str, configuration: Configuration | None = None) -> Workflow:
    with MetadataClient(configuration) as metadata:
        metadata.register_task(TASK)
        metadata.register_workflow(WORKFLOW)
    with WorkflowClient(configuration) as client:
        return client.start_and_wait("greetings", {"name": name}, timeout=30)


if __name__ == "__main__":
    print(greet("Ada").output)
