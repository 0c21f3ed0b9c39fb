"""WorkerInterface: what a subclass may set, and what the poller accepts."""

from __future__ import annotations

from typing import Any

import pytest

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker import Task, TaskResult, WorkerInterface, check_worker, worker_task


class Worker(WorkerInterface):
    concurrency = 5
    domain = "blue"

    def execute(self, task: Task) -> TaskResult:
        return self.get_task_result_from_task(task)


@pytest.mark.feature("conductor-python: worker class")
def test_class_attributes_and_the_constructor() -> None:
    assert (Worker("t").concurrency, Worker("t").domain) == (5, "blue")
    worker = Worker("t", concurrency=2, domain="red")
    assert (worker.task_definition_name, worker.concurrency, worker.domain) == ("t", 2, "red")
    assert Worker.concurrency == 5


def test_the_defaults() -> None:
    class Plain(WorkerInterface):
        execute = Worker.execute

    assert (Plain("t").concurrency, Plain("t").domain) == (1, None)


def test_execute_must_be_there() -> None:
    with pytest.raises(TypeError, match="abstract"):
        WorkerInterface("t")  # type: ignore[abstract]


def test_a_generator_as_execute_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(WorkerDefinitionError, match=r"Generator\.execute is a generator"):

        class Generator(WorkerInterface):
            def execute(self, task: Task) -> TaskResult:  # type: ignore[misc]
                yield self.get_task_result_from_task(task)


def test_a_new_result_has_the_ids_and_no_status() -> None:
    task = Task(task_id="t", workflow_instance_id="w", worker_id="me", output_data={"old": 1})
    assert Worker("x").get_task_result_from_task(task) == TaskResult("w", "t", worker_id="me")


def test_workers_pass_the_check() -> None:
    worker = Worker("t")
    assert check_worker(worker) is worker
    function_worker = worker_task("t")(lambda: None)
    assert check_worker(function_worker) is function_worker


class WithoutSuper(Worker):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("worker", "text"),
    [
        (Worker, r"give an instance, Worker\('task_definition_name'\)"),
        (len, r"decorate the function with @worker_task"),
        (5, r"5 is not a worker: expected an instance"),
        (WithoutSuper(), r"super\(\).__init__\(task_definition_name\)"),
    ],
)
def test_what_is_no_worker_gets_a_remedy(worker: Any, text: str) -> None:
    with pytest.raises(WorkerDefinitionError, match=text):
        check_worker(worker)


@pytest.mark.parametrize(
    ("attribute", "value"), [("concurrency", 0), ("concurrency", None), ("domain", ""), ("domain", 1)]
)
def test_bad_attributes_are_found(attribute: str, value: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=attribute):
        type("Bad", (Worker,), {attribute: value})("t")
    worker = Worker("t")
    setattr(worker, attribute, value)
    with pytest.raises(WorkerDefinitionError, match=attribute):
        check_worker(worker)


@pytest.mark.parametrize("name", ["", " ", None, ["a", "b"]])
def test_bad_names_are_found(name: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match="task definition name"):
        Worker(name)
