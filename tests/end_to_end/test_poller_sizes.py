"""Payloads too large for the server's messages, through a poller, on the real server."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from rest_user import RestUser
from s3_service import S3Service

from conductor_grpc import (
    Configuration,
    FilesystemPayloadStorage,
    S3PayloadStorage,
    TaskClient,
    TaskPoller,
    WorkflowClient,
    worker_task,
)
from conductor_grpc.server import RealServer, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import ServerAddress

    from conductor_grpc import ExternalPayloadStorage

KIB = 1024
BUCKET = "payloads"
CHECK = "conductor_grpc_storage_check"


class Run:
    """One workflow of one task whose worker returns `size` characters; `text` is its input."""

    def __init__(
        self,
        server: ServerAddress | RealServer,
        task_type: str,
        size: int,
        text: str = "",
        storage: ExternalPayloadStorage | None = None,
    ) -> None:
        self.user = RestUser(server.base_url)
        task_type = f"{task_type}_{uuid.uuid4().hex[:8]}"
        self.user.register(task_type, f"{task_type}_workflow", {"text": "${workflow.input.text}"})
        self.seen: list[int] = []

        @worker_task(task_type)
        def work(text: str) -> dict[str, object]:
            self.seen.append(len(text))
            return {"x": "x" * size, "n": 7}

        self.configuration = Configuration(
            server.base_url, target=server.target, external_payload_storage=storage, poll_wait_ms=1000
        )
        with TaskPoller([work], self.configuration):
            self.id = self.user.start(f"{task_type}_workflow", {"text": text})
            self.closed = self.user.wait_until_closed(self.id, 60)
        (self.task,) = self.closed["tasks"]
        self.stranded = self.user.in_progress(task_type)

    @property
    def outcome(self) -> tuple[str, str]:
        return self.closed["status"], self.task["status"]


# -- as the server is without a storage of its own: its temporary folder --


def test_an_output_over_4_mib_fails_its_task_at_once(real_server: ServerAddress) -> None:
    run = Run(real_server, "sizes_output_5_mib", 5 * KIB * KIB)
    assert run.outcome == ("FAILED", "FAILED_WITH_TERMINAL_ERROR")
    for text in ("5,24", "4,194,304", "external_payload_storage"):
        assert text in run.closed["reasonForIncompletion"]
    assert len(run.seen) == 1
    assert run.stranded == []


def test_an_output_between_the_limits_completes_and_a_reader_sees_a_path(real_server: ServerAddress) -> None:
    run = Run(real_server, "sizes_output_3500_kib", 3500 * KIB)
    assert run.outcome == ("COMPLETED", "COMPLETED")
    with TaskClient(run.configuration) as client:
        task = client.get(run.task["taskId"])
    assert task.output_data == {}
    assert task.external_output_payload_storage_path
    with WorkflowClient(run.configuration) as client:
        workflow = client.get(run.id)
    # The workflow's own output may have 5,120 KiB.
    assert len(str(workflow.output["workerOutput"]["x"])) == 3500 * KIB  # type: ignore[index, call-overload]


def test_an_input_over_3_mib_fails_its_task_and_no_worker_sees_it(real_server: ServerAddress) -> None:
    run = Run(real_server, "sizes_input_3500_kib", 1, "t" * 3500 * KIB)
    assert run.outcome == ("FAILED", "FAILED_WITH_TERMINAL_ERROR")
    path = run.task["externalInputPayloadStoragePath"]
    for text in ("input_data", path, "external_payload_storage"):
        assert text in run.closed["reasonForIncompletion"]
    assert run.seen == []
    # And nobody could fetch it: the server has no address for what is in its own folder, and REST leaves it out too.
    query = urlencode({"path": path, "operation": "READ", "payloadType": "TASK_INPUT"})
    assert "uri" not in run.user.call("GET", f"/tasks/externalstoragelocation?{query}")
    assert run.user.call("GET", f"/tasks/{run.task['taskId']}")["inputData"] == {}


def test_a_storage_that_the_server_does_not_read_fails_the_task_and_the_workflow_ends(
    real_server: ServerAddress, tmp_path: Path
) -> None:
    """With the path sent nevertheless, the workflow would stay RUNNING for ever and could not even be terminated."""
    storage = FilesystemPayloadStorage(tmp_path)
    run = Run(real_server, "sizes_wrong_storage", 5 * KIB * KIB, storage=storage)
    assert run.outcome == ("FAILED", "FAILED")
    assert "the server cannot read what FilesystemPayloadStorage stores" in run.closed["reasonForIncompletion"]
    assert run.stranded == []
    with WorkflowClient(run.configuration) as client:
        assert client.running(CHECK) == []


# -- with S3 --


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Service]:
    with S3Service() as service:
        yield service


@pytest.fixture(scope="module")
def s3_server(s3: S3Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    grpc_port, rest_port = free_ports(2)
    prefix = "conductor.external-payload-storage"
    with RealServer(
        tmp_path_factory.mktemp("conductor-s3"),
        grpc_port,
        rest_port,
        jvm_options=[f"-Daws.endpointUrlS3={s3.url}", "-Daws.accessKeyId=server", "-Daws.secretAccessKey=secret"],
        properties={f"{prefix}.type": "s3", f"{prefix}.s3.bucketName": BUCKET, f"{prefix}.s3.region": "us-east-1"},
        start_timeout=300,
    ) as server:
        yield server


@pytest.fixture
def storage(s3: S3Service) -> S3PayloadStorage:
    return S3PayloadStorage(
        BUCKET, endpoint_url=s3.url, region="us-east-1", access_key_id="worker", secret_access_key="secret"
    )


def output_path(run: Run) -> str:
    """Where the output is; it must be what the worker has stored."""
    path = str(run.task["externalOutputPayloadStoragePath"])
    assert path.startswith(f"task/output/{run.task['taskId']}-"), "stored by the server, not by the worker"
    return path


@pytest.mark.real_server
@pytest.mark.parametrize("size", [3500 * KIB, 6000 * KIB])
@pytest.mark.feature("Large payloads")
@pytest.mark.feature("conductor-python: external payload storage")
def test_a_large_output_goes_through_the_storage(
    s3_server: RealServer, s3: S3Service, storage: S3PayloadStorage, size: int
) -> None:
    run = Run(s3_server, f"sizes_s3_{size}", size, storage=storage)
    assert run.outcome == ("COMPLETED", "COMPLETED")
    stored = json.loads(s3.objects[BUCKET, output_path(run)])
    assert len(stored["x"]) == size
    with TaskClient(run.configuration) as client:
        task = client.get(run.task["taskId"])
        assert task.output_data == {}
        assert client.external_payload(task.external_output_payload_storage_path) == {"x": "x" * size, "n": 7}


@pytest.mark.real_server
@pytest.mark.feature("Large payloads")
def test_a_large_input_comes_through_the_storage(s3_server: RealServer, storage: S3PayloadStorage) -> None:
    run = Run(s3_server, "sizes_s3_input", 1, "t" * 3500 * KIB, storage=storage)
    assert run.outcome == ("COMPLETED", "COMPLETED")
    assert run.seen == [3500 * KIB]


@pytest.mark.real_server
def test_the_next_task_gets_its_part_and_can_be_polled_over_grpc(
    s3_server: RealServer, storage: S3PayloadStorage
) -> None:
    """The number in the stored output must not have become an integer, which gRPC cannot carry."""
    configuration = Configuration("", target=s3_server.target, external_payload_storage=storage, poll_wait_ms=1000)
    seen: list[Any] = []

    @worker_task("sizes_first")
    def first() -> dict[str, object]:
        return {"x": "x" * 5_000_000, "n": 7}

    @worker_task("sizes_second")
    def second(n: object, x: str) -> None:
        seen.append((n, len(x)))

    user = RestUser(s3_server.base_url)
    for name in ("sizes_first", "sizes_second"):
        user.register(name, f"{name}_alone")
    user.call("POST", "/metadata/workflow", _two_in_a_row())
    with WorkflowClient(configuration) as client, TaskPoller([first, second], configuration) as poller:
        workflow = client.start_and_wait("sizes_pair", {"go": True}, timeout=60)
        assert [lane.source for lane in poller.health().workers] == ["grpc", "grpc"]
    assert workflow.status.value == "COMPLETED"
    assert seen == [(7, 5_000_000)]


@pytest.mark.real_server
def test_a_storage_that_is_away_fails_the_task_and_the_retry_succeeds(
    s3_server: RealServer, s3: S3Service, storage: S3PayloadStorage
) -> None:
    user = RestUser(s3_server.base_url)
    user.register("sizes_away", "sizes_away_workflow", retryCount=1, retryDelaySeconds=0)
    configuration = Configuration(s3_server.base_url, target=s3_server.target, external_payload_storage=storage)
    runs: list[int] = []

    @worker_task("sizes_away")
    def work() -> dict[str, str]:
        runs.append(len(runs))
        s3.failing = len(runs) == 1
        return {"x": "x" * 5_000_000}

    with contextlib.ExitStack() as stack:
        stack.callback(setattr, s3, "failing", False)
        stack.enter_context(TaskPoller([work], configuration))
        closed = user.wait_until_closed(user.start("sizes_away_workflow"), 60)
    failed, completed = closed["tasks"]
    assert (failed["status"], completed["status"], closed["status"]) == ("FAILED", "COMPLETED", "COMPLETED")
    assert "S3PayloadStorage could not store a" in failed["reasonForIncompletion"]
    assert runs == [0, 1]


@pytest.mark.real_server
def test_an_output_over_10_mib_fails_though_there_is_a_storage(
    s3_server: RealServer, storage: S3PayloadStorage
) -> None:
    run = Run(s3_server, "sizes_s3_11_mib", 11 * KIB * KIB, storage=storage)
    assert run.outcome == ("FAILED", "FAILED_WITH_TERMINAL_ERROR")
    assert "10,485,760" in run.closed["reasonForIncompletion"]


@pytest.mark.real_server
def test_the_checks_of_the_storage_leave_no_workflow(s3_server: RealServer) -> None:
    with WorkflowClient(Configuration(s3_server.base_url, target=s3_server.target)) as client:
        assert client.running(CHECK) == []
        assert client.search(f"workflowType={CHECK}").total_hits == 0


def _two_in_a_row() -> dict[str, object]:
    outputs = {name: f"${{one.output.{name}}}" for name in ("n", "x")}
    return {
        "name": "sizes_pair",
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "owner@example.com",
        "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0,
        "tasks": [
            {"name": "sizes_first", "taskReferenceName": "one", "type": "SIMPLE"},
            {"name": "sizes_second", "taskReferenceName": "two", "type": "SIMPLE", "inputParameters": outputs},
        ],
        "outputParameters": {"done": "yes"},
    }
