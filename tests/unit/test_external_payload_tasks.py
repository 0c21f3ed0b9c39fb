"""Large payloads of tasks: into the storage, out of it, and what becomes of a task when that fails."""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task

from conductor_grpc import (
    Configuration,
    ExternalPayloadError,
    FilesystemPayloadStorage,
    TaskPoller,
    WorkflowClient,
    worker_task,
)
from conductor_grpc.errors import UnavailableError
from conductor_grpc.payload.external.document import from_document, to_document
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.poller import storage_check
from conductor_grpc.poller.outbox_updates import hand_back
from conductor_grpc.poller.storage_check import WORKFLOW, StorageCheck
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.server_version import LeaseSupport
from conductor_grpc.worker import Task, TaskLog, TaskResult, TaskResultStatus, run_to_wire
from conductor_grpc.worker.external_payload import ExternalPayloads
from conductor_grpc.worker.result import MAX_UPDATE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc.payload.external import ExternalPayloadStorage, PayloadKind

KIB = 1024
TERMINAL = TaskResultStatus.FAILED_WITH_TERMINAL_ERROR


class Shelf:
    """A storage in memory. `error` is raised by both methods."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.answer: Any = None

    def upload(self, kind: PayloadKind, task_id: str, data: bytes) -> str:
        if self.error is not None:
            raise self.error
        path = f"{kind}/{task_id}/{len(self.documents)}"
        self.documents[path] = data
        return path if self.answer is None else self.answer  # type: ignore[no-any-return]

    def download(self, path: str) -> bytes:
        if self.error is not None:
            raise self.error
        return self.documents[path]


def payloads(storage: ExternalPayloadStorage, **settings: Any) -> ExternalPayloads:
    defaults: dict[str, Any] = {"threshold": 1000, "limit": 10_000_000, "update_limit": MAX_UPDATE_BYTES}
    return ExternalPayloads(storage, **{**defaults, **settings})


def run(output: dict[str, Any], external: ExternalPayloads | None) -> tuple[TaskResult, taskresult_pb2.TaskResult]:
    """What becomes of a worker's output: the result, and what goes over the wire."""

    @worker_task("t")
    def work() -> dict[str, Any]:
        return output

    result, wire = run_to_wire(work, Task(task_id="t1", workflow_instance_id="w1"), "me", external=external)
    return result, task_service_pb2.UpdateTaskRequest.FromString(wire).result


# -- out --


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("x" * 992, False),  # {"x":"..."} is 1,000 bytes
        ("x" * 993, True),
        ("é" * 496, False),
        ("é" * 497, True),
        ("\x01" * 165, False),  # six bytes of JSON each
        ("\x01" * 166, True),
        ("", False),
    ],
)
def test_an_output_goes_outside_if_its_json_is_larger_than_the_threshold(text: str, outside: bool) -> None:
    shelf = Shelf()
    result, sent = run({"x": text}, payloads(shelf))
    assert result.status is TaskResultStatus.COMPLETED
    assert bool(sent.external_output_payload_storage_path) is outside
    assert bool(sent.output_data) is not outside
    if outside:
        assert [from_document(each) for each in shelf.documents.values()] == [{"x": text}]
        assert list(shelf.documents) == [sent.external_output_payload_storage_path]
        assert result.external_output_payload_storage_path == sent.external_output_payload_storage_path
        assert (sent.task_id, sent.workflow_instance_id, sent.worker_id) == ("t1", "w1", "me")


def test_an_output_that_is_large_on_the_wire_only_goes_outside_too() -> None:
    """A one-digit number has four bytes as JSON and eleven on the wire."""
    shelf = Shelf()
    numbers = [1] * 500_000
    _, sent = run({"n": numbers}, payloads(shelf, threshold=3072 * KIB))
    (document,) = shelf.documents.values()
    assert len(document) < 3072 * KIB
    assert from_document(document) == {"n": numbers}
    assert sent.external_output_payload_storage_path


def test_a_small_output_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conductor_grpc.worker.external_payload.to_document", pytest.fail)
    run({"x": "x" * 500_000}, payloads(Shelf(), threshold=3072 * KIB))


def test_values_of_any_type_are_stored_as_they_would_be_sent() -> None:
    shelf = Shelf()
    run({"day": datetime.date(2024, 2, 29), "pad": "x" * 2000}, payloads(shelf))
    (document,) = shelf.documents.values()
    assert from_document(document)["day"] == "2024-02-29"


def test_a_result_that_is_not_the_last_goes_outside_with_its_delay_and_logs() -> None:
    shelf = Shelf()

    @worker_task("t")
    def work() -> TaskResult:
        return TaskResult(
            status=TaskResultStatus.IN_PROGRESS,
            output_data={"x": "x" * 2000},
            callback_after_seconds=7,
            logs=[TaskLog("said", 5)],
        )

    task = Task(task_id="t1", workflow_instance_id="w1")
    _, wire = run_to_wire(work, task, "me", external=payloads(shelf))
    sent = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    assert sent.status == taskresult_pb2.TaskResult.IN_PROGRESS
    assert sent.callback_after_seconds == 7
    assert [log.log for log in sent.logs] == ["said"]
    assert sent.external_output_payload_storage_path in shelf.documents


def test_without_a_storage_an_output_over_the_limit_fails_with_its_size_and_what_to_do() -> None:
    result, sent = run({"x": "x" * MAX_UPDATE_BYTES}, None)
    assert result.status is TERMINAL
    for text in ("4,194,", "4,194,304 at most", "external_payload_storage"):
        assert text in sent.reason_for_incompletion


def test_an_output_too_large_for_the_server_in_any_place_fails_for_good() -> None:
    shelf = Shelf()
    result, sent = run({"x": "x" * 5000}, payloads(shelf, limit=4000))
    assert result.status is TERMINAL
    assert "5,008 bytes as JSON" in sent.reason_for_incompletion
    assert "4,000" in sent.reason_for_incompletion
    assert shelf.documents == {}


@pytest.mark.parametrize("answer", ["", b"path", 7])
def test_a_storage_that_returns_no_path_fails_the_task(answer: Any) -> None:
    shelf = Shelf()
    shelf.answer = answer
    result, sent = run({"x": "x" * 5000}, payloads(shelf))
    assert result.status is TaskResultStatus.FAILED
    assert "expected the path" in sent.reason_for_incompletion


def test_an_upload_that_fails_fails_the_task_which_may_be_retried() -> None:
    shelf = Shelf()
    shelf.error = OSError("disk full")
    result, sent = run({"x": "x" * 5000}, payloads(shelf))
    assert result.status is TaskResultStatus.FAILED
    assert sent.reason_for_incompletion == (
        "ExternalPayloadError: Shelf could not store a task/output of 5,008 bytes: OSError: disk full"
    )
    assert not sent.output_data


def test_nothing_is_stored_where_the_server_could_not_read_it() -> None:
    def check() -> None:
        raise ExternalPayloadError("the server cannot read it")

    shelf = Shelf()
    result, sent = run({"x": "x" * 5000}, payloads(shelf, check=check))
    assert result.status is TaskResultStatus.FAILED
    assert "the server cannot read it" in sent.reason_for_incompletion
    assert shelf.documents == {}


# -- in --


def run_on(task: Task, external: ExternalPayloads | None) -> tuple[TaskResult, list[Task]]:
    seen: list[Task] = []

    @worker_task("t")
    def work(task: Task) -> None:
        seen.append(task)

    return run_to_wire(work, task, "me", external=external)[0], seen


def outside(**paths: str) -> Task:
    return Task(task_id="t1", workflow_instance_id="w1", **paths)  # type: ignore[arg-type]


def test_an_input_outside_is_fetched_and_so_is_the_earlier_output() -> None:
    shelf = Shelf()
    shelf.documents = {"in": to_document({"n": 7}), "out": b'{"done":[1.0,2.5],"id":9007199254740993}'}
    task = outside(external_input_payload_storage_path="in", external_output_payload_storage_path="out")
    result, (seen,) = run_on(task, payloads(shelf))
    assert result.status is TaskResultStatus.COMPLETED
    assert seen.input_data == {"n": 7}
    assert seen.output_data == {"done": [1, 2.5], "id": 9007199254740993}
    assert (task.input_data, task.output_data) == ({}, {}), "the poller's own copy stays small"


def test_an_input_that_came_with_the_task_is_not_fetched() -> None:
    task = outside(external_input_payload_storage_path="in")
    task.input_data = {"n": 1}
    _, (seen,) = run_on(task, payloads(Shelf()))
    assert seen.input_data == {"n": 1}


@pytest.mark.parametrize("where", ["input", "output"])
def test_without_a_storage_no_worker_runs_on_what_is_not_there(where: str) -> None:
    result, seen = run_on(outside(**{f"external_{where}_payload_storage_path": "a/path"}), None)
    assert result.status is TERMINAL
    assert seen == []
    for text in (f"{where}_data", "'a/path'", "external_payload_storage"):
        assert text in result.reason_for_incompletion


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "Shelf could not read 'in': KeyError: 'in'"),
        (b"<html>", "Shelf has at 'in' what is no payload: not a JSON document"),
        (b"[1.0]", "Shelf has at 'in' what is no payload: expected a JSON object"),
    ],
)
def test_an_input_that_cannot_be_fetched_fails_the_task_which_may_be_retried(document: bytes | None, text: str) -> None:
    shelf = Shelf()
    if document is not None:
        shelf.documents["in"] = document
    result, seen = run_on(outside(external_input_payload_storage_path="in"), payloads(shelf))
    assert result.status is TaskResultStatus.FAILED
    assert text in result.reason_for_incompletion
    assert seen == []


def test_handing_a_task_back_leaves_its_output_where_it_is() -> None:
    update = hand_back(outside(external_output_payload_storage_path="out"))
    sent = task_service_pb2.UpdateTaskRequest.FromString(update.wire).result
    assert sent.external_output_payload_storage_path == "out"


# -- whether the server reads the storage --


def test_a_server_that_cannot_read_the_storage_never_gets_a_path(tmp_path: Path) -> None:
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        with open_channel(configuration) as channel, WorkflowClient(configuration) as workflows:
            check = StorageCheck(FilesystemPayloadStorage(tmp_path), configuration, channel)
            for _ in range(2):
                with pytest.raises(ExternalPayloadError, match="cannot read what FilesystemPayloadStorage stores"):
                    check()
            assert workflows.running(WORKFLOW) == []


def test_the_poller_asks_before_it_sends_a_path(tmp_path: Path) -> None:
    """The scripted server has no workflows at all: the task fails, and its output is not lost on the way."""

    @worker_task("work")
    def work() -> dict[str, str]:
        return {"x": "x" * 5000}

    with ScriptedServer() as server:
        server.add(a_task("t1"))
        configuration = Configuration(
            "",
            target=server.target,
            external_payload_storage=FilesystemPayloadStorage(tmp_path),
            external_payload_threshold=1000,
        )
        with TaskPoller([work], configuration):
            (sent,) = server.wait_for_updates(1)
    assert sent.status == taskresult_pb2.TaskResult.FAILED
    assert "3.32.0" in sent.reason_for_incompletion


def test_the_server_is_asked_once_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def start(_: object, name: str, **request: Any) -> str:
        asked.append(request["external_input_payload_storage_path"])
        if len(asked) == 1:
            raise UnavailableError("away", code=grpc.StatusCode.UNAVAILABLE)
        return name

    monkeypatch.setattr(storage_check, "lease_support", lambda *_: LeaseSupport.YES)
    monkeypatch.setattr(storage_check, "LOOK_FIRST", 0.001)
    monkeypatch.setattr(WorkflowClient, "start", start)
    monkeypatch.setattr(WorkflowClient, "remove", lambda *_, **__: None)
    configuration = Configuration("", target="localhost:1")
    shelf = Shelf()
    with open_channel(configuration) as channel:
        check = StorageCheck(shelf, configuration, channel)
        threads = [threading.Thread(target=check) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert asked == [*shelf.documents] * 2
    assert len(shelf.documents) == 1
