"""The examples of the guide from conductor-python, on the embedded server: they do what they say."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_for

from conductor_grpc import Configuration, WorkerInterface

if TYPE_CHECKING:
    from types import ModuleType

    from conductor_grpc.server import EmbeddedServer
    from conductor_grpc.testing import ConductorClient, WorkerRunner, WorkflowRun

EXAMPLES = Path(__file__).parents[2] / "examples" / "migration"


def example(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"migration_{name}", EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module: ModuleType = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where annotations are looked up
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def run(conductor_client: ConductorClient, run_worker: WorkerRunner) -> Any:
    """Runs a worker's type once, as a workflow of one task that gets the whole input."""

    def run_once(worker: WorkerInterface, inputs: dict[str, object], **definition: object) -> WorkflowRun:
        name = worker.task_definition_name
        task = {"name": name, "ownerEmail": "a@example.com", "retryDelaySeconds": 0, **definition}
        parameters = {key: f"${{workflow.input.{key}}}" for key in inputs}
        workflow = {
            "name": f"run {name}",
            "ownerEmail": "a@example.com",
            "tasks": [{"name": name, "taskReferenceName": "it", "inputParameters": parameters}],
        }
        conductor_client.register(task, workflow)
        run_worker(worker)
        return conductor_client.start(f"run {name}", inputs)

    return run_once


def test_hello(run: Any) -> None:
    assert run(example("hello").greet_by_name, {"name": "Ada"}).assert_completed().task("it").output_data == {
        "result": "Hello Ada"
    }


def test_class_worker(run: Any) -> None:
    outputs = [
        run(worker, {"value": 5}).assert_completed().task("it").output_data
        for worker in example("class_worker").workers
    ]
    assert outputs == [{"sum": 6}, {"sum": 15}]


def test_async_worker(run: Any) -> None:
    fetched = run(example("async_worker").fetch, {"url": "http://localhost/"}).assert_completed()
    assert fetched.task("it").output_data == {"url": "http://localhost/", "status": 200}


def test_typed_input(run: Any) -> None:
    invoice = example("typed_input").invoice
    items = [{"name": "pen", "price": 1.5}, {"name": "ink", "price": 1, "quantity": 2}]
    good = run(invoice, {"order": {"customer": "Ada", "items": items, "due": "2030-01-31"}}).assert_completed()
    assert good.task("it").output_data == {"customer": "Ada", "total": 3.5}
    bad = run(invoice, {"order": {"customer": "Ada", "items": [{"name": "pen", "price": "?"}]}})
    assert "order.items[0].price" in bad.assert_failed().task("it").reason_for_incompletion


def test_failures(run: Any) -> None:
    charge = example("failures").charge_card
    charged = run(charge, {"amount": 5}, retryCount=3).assert_completed()
    assert (charged.task("it").retry_count, charged.task("it").output_data["charged"]) == (1, 5)
    refused = run(charge, {"amount": -1}, retryCount=3).assert_failed()
    assert (refused.task("it").retry_count, refused.task("it").status) == (0, "FAILED_WITH_TERMINAL_ERROR")


def test_long_task(run: Any, conductor_server: EmbeddedServer) -> None:
    waiting = run(example("long_task").wait_for_batch, {"batch": "b"})
    for looks in (1, 2):
        wait_for(lambda looks=looks: waiting.task("it").output.get("looks") == looks)
        conductor_server.clock.advance(1)
    assert waiting.assert_completed().task("it").output_data == {"batch": "b", "looks": 3}


def test_context(run: Any) -> None:
    imported = run(example("context").import_pages, {"pages": ["a", "b"]})
    task = imported.assert_completed().task("it")
    assert task.output_data == {"pages": 2}
    logs = imported.logs(task.task_id)
    assert [line for line in logs if "imported" in line] == ["a imported", "b imported"]


@pytest.mark.feature("conductor-python: events and listeners")
def test_listener(run: Any) -> None:
    module = example("listener")
    run(module.audited, {"number": 2}).assert_completed()
    run(module.audited, {"number": 0}, retryCount=0).assert_failed()
    assert module.audit.ended == {"COMPLETED": 1, "ZeroDivisionError": 1}


def test_registration(conductor_client: ConductorClient, run_worker: WorkerRunner) -> None:
    run_worker(example("registration").reserve)
    wait_for(lambda: "reserve" in registered(conductor_client))
    assert registered(conductor_client)["reserve"]["retryCount"] == 5


def registered(client: ConductorClient) -> dict[str, Any]:
    from conductor_grpc import NotFoundError

    try:
        return {"reserve": client.metadata.get_task("reserve")}
    except NotFoundError:
        return {}


def test_embedding(conductor_server: EmbeddedServer) -> None:
    configuration = Configuration("", target=conductor_server.target, poll_wait_ms=100)
    application = example("embedding").Application(configuration)
    application.start()
    wait_for(lambda: application.healthy)
    assert application.stop() == "while stopping: 0 done, 0 handed back, 0 cancelled, 0 unsent"
    assert not application.healthy


def test_client(run_worker: WorkerRunner, conductor_server: EmbeddedServer) -> None:
    run_worker(example("hello").greet_by_name)
    ended = example("client").greet("Ada", Configuration("", target=conductor_server.target))
    assert (ended.status, ended.output) == ("COMPLETED", {"greeting": "Hello Ada"})


def test_hello_as_a_program(conductor_client: ConductorClient, conductor_server: EmbeddedServer) -> None:
    """Its main: processes under a handler, which SIGTERM drains."""
    client = example("client")
    conductor_client.register(client.TASK, client.WORKFLOW)
    environment = {"CONDUCTOR_GRPC_TARGET": conductor_server.target, "PATH": ""}
    with subprocess.Popen([sys.executable, str(EXAMPLES / "hello.py")], env=environment) as program:
        try:
            conductor_client.start("greetings", {"name": "Ada"}).assert_completed(timeout=30)
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) == 0
        finally:
            program.kill()


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'example\("(\w+)"\)', Path(__file__).read_text("utf-8")))
    assert tested == {path.stem for path in EXAMPLES.glob("*.py")}
