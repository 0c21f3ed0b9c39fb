"""The proxy does to calls what it is told, and nothing else."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import BatchPollRequest, UpdateTaskRequest
from conductor_grpc.pb.services.task_service_pb2_grpc import TaskServiceStub
from faults.proxy import Call, Fate, Plan, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL = BatchPollRequest(task_type="work", worker_id="w", count=5, timeout=-1)


class Told(Plan):
    """Does to calls of one method what the test says."""

    def __init__(self, method: str = "", fate: Fate = Fate.PASS, delay: float = 0.0, cut_after: int = 0) -> None:
        self.method, self.fate, self.delay, self.cut_after = method, fate, delay, cut_after
        self.passed = 0
        self.ends: list[tuple[str, int]] = []

    def requested(self, call: Call) -> None:
        if call.method == self.method:
            call.fate, call.delay = self.fate, self.delay

    def answered(self, call: Call) -> bool:
        self.passed = call.messages
        return call.method == self.method and call.messages == self.cut_after

    def ended(self, call: Call) -> None:
        self.ends.append((call.method, call.messages))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


class Connected:
    """A client behind a proxy, whose connection has been used once, as faults do not touch the very first call."""

    def __init__(self, server: ScriptedServer) -> None:
        self.plan = Told()
        self.proxy = Proxy(server.target, self.plan)
        self.proxy.__enter__()
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(self.proxy.target, options)
        self.stub = TaskServiceStub(self.channel)
        assert list(self.stub.BatchPoll(POLL, timeout=20, wait_for_ready=True)) == []

    def told(self, method: str, **how: object) -> None:
        self.proxy.plan = self.plan = Told(method, **how)  # type: ignore[arg-type]

    def until_it_works(self) -> None:
        """Call until there is a new connection; the first calls may still take the one that is broken."""

        def works() -> bool:
            with contextlib.suppress(grpc.RpcError):
                return list(self.stub.BatchPoll(POLL, timeout=20, wait_for_ready=True)) == []
            return False

        wait_for(works)

    def update(self, task_id: str, timeout: float = 20) -> str:
        request = UpdateTaskRequest(result=TaskResult(task_id=task_id, workflow_instance_id="w"))
        return str(self.stub.UpdateTask(request, timeout=timeout).task_id)


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Connected]:
    connected = Connected(server)
    yield connected
    connected.channel.close()
    connected.proxy.__exit__()
    assert connected.proxy.untold == []


def error_of(call: object) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        call()  # type: ignore[operator]
    return raised.value.code()


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_connection_is_cut_behind_the_kth_message(server: ScriptedServer, client: Connected, after: int) -> None:
    server.add(*(a_task(str(number)) for number in range(5)))
    client.told("BatchPoll", cut_after=after)
    received: list[str] = []
    call = client.stub.BatchPoll(POLL, timeout=20)
    assert error_of(lambda: received.extend(task.task_id for task in call)) is grpc.StatusCode.UNAVAILABLE
    # gRPC may drop messages that it has got already, when it sees the reset before they are read.
    assert received == [str(number) for number in range(len(received))]
    assert len(received) <= after
    assert client.plan.passed == after
    assert client.proxy.resets == 1
    client.told("")
    client.until_it_works()


def test_a_refused_call_never_reaches_the_server(server: ScriptedServer, client: Connected) -> None:
    client.told("UpdateTask", fate=Fate.REFUSED)
    assert error_of(lambda: client.update("a")) is grpc.StatusCode.UNAVAILABLE
    client.told("")
    assert client.update("b") == "b"
    assert [result.task_id for result in server.updates] == ["b"]


def test_a_lost_answer_leaves_the_call_done(server: ScriptedServer, client: Connected) -> None:
    client.told("UpdateTask", fate=Fate.ANSWER_LOST)
    assert error_of(lambda: client.update("a")) is grpc.StatusCode.INTERNAL
    assert client.plan.ends == [("UpdateTask", 1)]
    assert [result.task_id for result in server.updates] == ["a"]
    assert list(client.stub.BatchPoll(POLL, timeout=20)) == []


def test_a_late_answer_is_late_for_its_own_call_only(server: ScriptedServer, client: Connected) -> None:
    client.told("UpdateTask", delay=0.5)
    began = time.monotonic()
    late = client.stub.UpdateTask.future(UpdateTaskRequest(result=TaskResult(task_id="a")), timeout=20)
    server.wait_for_updates(1)
    assert list(client.stub.BatchPoll(POLL, timeout=20)) == []
    assert not late.done()
    assert late.result().task_id == "a"
    assert time.monotonic() - began >= 0.5


def test_what_is_held_back_arrives_later(server: ScriptedServer, client: Connected) -> None:
    client.proxy.hold()
    call = client.stub.UpdateTask.future(UpdateTaskRequest(result=TaskResult(task_id="a")), timeout=20)
    assert not threading.Event().wait(0.2)
    assert server.updates == []
    client.proxy.resume()
    assert call.result().task_id == "a"
    assert client.proxy.resets == 0


def test_what_is_swallowed_is_gone_and_then_the_connection_is_reset(server: ScriptedServer, client: Connected) -> None:
    client.proxy.swallow()
    assert error_of(lambda: client.update("a", timeout=0.3)) is grpc.StatusCode.DEADLINE_EXCEEDED
    client.proxy.resume()
    client.until_it_works()
    assert server.updates == []
    assert client.proxy.swallowed > 0
    assert client.proxy.resets == 1


def test_a_half_open_connection_is_silent(server: ScriptedServer, client: Connected) -> None:
    assert client.proxy.half_open() == 1
    assert error_of(lambda: client.update("a", timeout=0.3)) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.proxy.reset() == 1
    client.until_it_works()
    assert server.updates == []
