"""Definitions onto the server: what is created, what is left alone, and what is said about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import (
    Configuration,
    InvalidRequestError,
    MetadataClient,
    TaskDefinition,
    UnavailableError,
    WorkflowClient,
    worker_task,
)
from conductor_grpc.definitions import task_definition_to_proto, workflow_definition_to_proto
from conductor_grpc.registration import Outcome, Registrar, Registration, declared_by
from conductor_grpc.registration.stored import WORKFLOW as WORKFLOW_THAT_LOOKS
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.registration import Declared

WORKFLOW = {
    "name": "flow",
    "ownerEmail": "example@example.com",
    "tasks": [{"name": "greet", "taskReferenceName": "greet"}],
}


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=True) as server:
        yield server


@pytest.fixture
def configuration(server: EmbeddedServer) -> Configuration:
    return Configuration("", target=server.target)


@pytest.fixture
def client(configuration: Configuration) -> Iterator[MetadataClient]:
    with MetadataClient(configuration) as client:
        yield client


@pytest.fixture
def registrar(configuration: Configuration) -> Iterator[Registrar]:
    with Registrar(configuration) as registrar:
        yield registrar


def a_task(**settings: Any) -> TaskDef:
    return task_definition_to_proto({"name": "greet", **settings})


def declaring(definition: TaskDefinition | None) -> Declared:
    @worker_task("greet", definition=definition)
    def greet(name: str, greeting: str = "Hello") -> None:
        del name, greeting

    (declared,) = declared_by([greet])
    return declared


def test_one_that_is_not_there_is_created_and_then_unchanged(registrar: Registrar, client: MetadataClient) -> None:
    assert registrar.register_task(a_task(retryCount=5)) == Registration(Outcome.CREATED)
    assert client.get_task("greet")["retryCount"] == 5
    assert registrar.register_task(a_task(retryCount=5)) == Registration(Outcome.UNCHANGED)


def test_one_that_differs_is_left_and_shown(registrar: Registrar, client: MetadataClient) -> None:
    client.register_task(a_task(retryCount=5, description="theirs", inputTemplate={"a": 1}))
    before = client.get_task("greet")
    left = registrar.register_task(a_task(retryCount=2, inputTemplate={"a": 2}, timeoutSeconds=4000))
    assert left.outcome is Outcome.DIFFERS
    assert left.lines() == [
        'description: "theirs" on the server, absent here',
        'inputTemplate: {"a": 1} on the server, {"a": 2} here',
        "retryCount: 5 on the server, 2 here",
        "timeoutSeconds: 0 on the server, 4000 here",
    ]
    assert client.get_task("greet") == before


def test_one_that_differs_is_replaced_when_asked_for(registrar: Registrar, client: MetadataClient) -> None:
    client.register_task(a_task(retryCount=5))
    updated = registrar.register_task(a_task(retryCount=2), overwrite=True)
    assert (updated.outcome, updated.lines()) == (Outcome.UPDATED, ["retryCount: 5 on the server, 2 here"])
    assert client.get_task("greet")["retryCount"] == 2


def test_a_dry_run_says_the_same_and_sends_nothing(registrar: Registrar, client: MetadataClient) -> None:
    assert registrar.register_task(a_task(), dry_run=True).outcome is Outcome.CREATED
    assert registrar.register_task(a_task(retryCount=5)).outcome is Outcome.CREATED  # it was not there
    asked = registrar.register_task(a_task(retryCount=2), overwrite=True, dry_run=True)
    assert (asked.outcome, asked.lines()) == (Outcome.UPDATED, ["retryCount: 5 on the server, 2 here"])
    assert client.get_task("greet")["retryCount"] == 5


def test_workers_without_a_definition_never_replace_one(registrar: Registrar, client: MetadataClient) -> None:
    assert registrar.register_declared(declaring(None)).outcome is Outcome.CREATED
    created = client.get_task("greet")
    assert (created["responseTimeoutSeconds"], created["inputKeys"]) == (600, ["name", "greeting"])
    client.register_task(a_task(retryCount=9, responseTimeoutSeconds=7))
    theirs = client.get_task("greet")
    assert registrar.register_declared(declaring(None)) == Registration(Outcome.UNCHANGED)
    assert registrar.register_declared(declaring(None), overwrite=True) == Registration(Outcome.UNCHANGED)
    assert client.get_task("greet") == theirs


def test_the_names_of_parameters_alone_are_no_difference(registrar: Registrar, client: MetadataClient) -> None:
    declared = declaring(TaskDefinition(retry_count=2))
    client.register_task(a_task(retryCount=2, responseTimeoutSeconds=600, inputKeys=["who"]))
    assert registrar.register_declared(declared) == Registration(Outcome.UNCHANGED)
    updated = registrar.register_declared(declared, overwrite=True)
    assert updated.lines() == ['inputKeys: ["who"] on the server, ["name", "greeting"] here']
    said = declaring(TaskDefinition(retry_count=2, input_keys=["who"]))
    assert registrar.register_declared(said).lines() == [
        'inputKeys: ["name", "greeting"] on the server, ["who"] here',
    ]


def test_workflows_go_by_the_same_rule(registrar: Registrar, client: MetadataClient) -> None:
    workflow = workflow_definition_to_proto(WORKFLOW)
    other = workflow_definition_to_proto({**WORKFLOW, "description": "other"})
    assert registrar.register_workflow(workflow, dry_run=True).outcome is Outcome.CREATED
    assert registrar.register_workflow(workflow).outcome is Outcome.CREATED
    assert registrar.register_workflow(workflow).outcome is Outcome.UNCHANGED
    left = registrar.register_workflow(other)
    assert (left.outcome, left.lines()) == (Outcome.DIFFERS, ['description: absent on the server, "other" here'])
    assert "description" not in client.get_workflow("flow")
    assert registrar.register_workflow(other, overwrite=True, dry_run=True).outcome is Outcome.UPDATED
    assert "description" not in client.get_workflow("flow")
    assert registrar.register_workflow(other, overwrite=True).outcome is Outcome.UPDATED
    assert client.get_workflow("flow")["description"] == "other"


def test_two_at_once_do_each_other_no_harm(configuration: Configuration, client: MetadataClient) -> None:
    barrier = threading.Barrier(8)
    outcomes: list[Outcome] = []

    def register() -> None:
        with Registrar(configuration) as registrar:
            barrier.wait(30)
            outcomes.append(registrar.register_declared(declaring(TaskDefinition(retry_count=2))).outcome)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert {Outcome.CREATED} <= set(outcomes) <= {Outcome.CREATED, Outcome.UNCHANGED}
    assert client.get_task("greet")["retryCount"] == 2


def test_what_somebody_else_stored_in_the_same_moment_is_an_error(
    registrar: Registrar, client: MetadataClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process creates a different one after ours was sent, before we have looked."""
    send = MetadataClient.register_task

    def send_and_be_overtaken(self: MetadataClient, definition: TaskDef) -> None:
        send(self, definition)
        send(client, a_task(retryCount=7))

    monkeypatch.setattr(MetadataClient, "register_task", send_and_be_overtaken)
    with pytest.raises(InvalidRequestError, match=r"has another: retryCount: 7 on the server, 2 here.*same moment"):
        registrar.register_task(a_task(retryCount=2))


def test_a_server_that_is_not_there_is_no_server_without_definitions() -> None:
    with Registrar(Configuration("", target="127.0.0.1:1")) as registrar, pytest.raises(UnavailableError):
        registrar.register_task(a_task())


def test_a_rest_address_that_leads_nowhere_is_no_reason_not_to_register(
    server: EmbeddedServer, client: MetadataClient
) -> None:
    """As with an embedded server on the default port: nobody is at the REST address that goes with it."""
    with Registrar(Configuration("http://127.0.0.1:1/api", target=server.target)) as registrar:
        assert registrar.register_task(a_task(retryCount=5)).outcome is Outcome.CREATED
        assert registrar.register_task(a_task(retryCount=2)).outcome is Outcome.DIFFERS
    assert client.get_task("greet")["retryCount"] == 5


def test_nothing_is_left_of_the_look_for_a_definition(configuration: Configuration, registrar: Registrar) -> None:
    registrar.register_task(a_task())
    with WorkflowClient(configuration) as workflows:
        assert workflows.search(f"workflowType={WORKFLOW_THAT_LOOKS}").total_hits == 0
