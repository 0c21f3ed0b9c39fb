"""The channels against a gRPC server in this process, which answers with bytes as each test tells it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import (
    ClosedChannelError,
    ErrorKind,
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    UnavailableError,
)
from conductor_grpc.pb.services import (
    event_service_pb2,
    metadata_service_pb2,
    task_service_pb2,
    task_service_pb2_grpc,
    workflow_service_pb2,
)
from conductor_grpc.transport import methods
from conductor_grpc.transport.channel import Channel, open_aio_channel, open_channel
from conductor_grpc.transport.methods import raw_aio_unary, raw_stream, raw_unary
from conductor_grpc.transport.trailer import TRAILER_KEY

Handler = Callable[[bytes, grpc.ServicerContext], Any]


class Server(grpc.GenericRpcHandler):
    """Serves `unary` and `stream` under every path, and keeps the deadlines that callers sent."""

    def __init__(self) -> None:
        self.unary: Handler = lambda request, _: request
        self.stream: Handler = lambda request, _: iter([request])
        self.deadlines: list[float] = []

    def service(self, details: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        if details.method in (methods.BATCH_POLL, "/stream"):
            return grpc.unary_stream_rpc_method_handler(self._serve_stream)
        return grpc.unary_unary_rpc_method_handler(self._serve_unary)

    def _serve_unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.deadlines.append(context.time_remaining())
        return self.unary(request, context)

    def _serve_stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.deadlines.append(context.time_remaining())
        yield from self.stream(request, context)


@pytest.fixture
def server() -> Iterator[Server]:
    handler = Server()
    options = [
        ("grpc.max_receive_message_length", 4 << 20),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 1 << 20),
        ("grpc.absolute_max_metadata_size", 2 << 20),
    ]
    real = grpc.server(ThreadPoolExecutor(4), handlers=[handler], options=options)
    handler.port = real.add_insecure_port("localhost:0")  # type: ignore[attr-defined]
    real.start()
    yield handler
    real.stop(None).wait()


@pytest.fixture
def configuration(server: Server) -> Configuration:
    return Configuration("", target=f"localhost:{server.port}", call_timeout=20.0)  # type: ignore[attr-defined]


@pytest.fixture
def channel(configuration: Configuration) -> Iterator[Channel]:
    with open_channel(configuration) as opened:
        yield opened


def abort(code: grpc.StatusCode, details: str, trailer: bytes | None = None) -> Handler:
    def handle(_: bytes, context: grpc.ServicerContext) -> None:
        if trailer is not None:
            context.set_trailing_metadata(((TRAILER_KEY, trailer),))
        context.abort(code, details)

    return handle


def test_bytes_go_in_and_out(channel: Channel) -> None:
    assert raw_unary(channel, methods.UPDATE_TASK)(b"\x00ab") == b"\x00ab"
    assert list(raw_stream(channel, methods.BATCH_POLL)(b"x")) == [b"x"]


def test_generated_stubs_work_and_raise_our_errors(server: Server, channel: Channel) -> None:
    stub = task_service_pb2_grpc.TaskServiceStub(channel)
    server.unary = lambda _, __: task_service_pb2.GetTaskResponse(task={"task_id": "t1"}).SerializeToString()
    assert stub.GetTask(task_service_pb2.GetTaskRequest(task_id="t1")).task.task_id == "t1"
    server.unary = abort(grpc.StatusCode.NOT_FOUND, "No such task found by id=t2")
    with pytest.raises(NotFoundError, match=r"TaskService/GetTask at localhost:\d+: No such task found by id=t2"):
        stub.GetTask(task_service_pb2.GetTaskRequest(task_id="t2"))


@pytest.mark.bug("python-sdk#412")
def test_every_call_has_a_deadline(server: Server, channel: Channel) -> None:
    call, stream = raw_unary(channel, "/unary"), raw_stream(channel, "/stream")
    call(b"")
    list(stream(b""))
    call(b"", 5.0)
    list(stream(b"", timeout=5.0))
    # gRPC rounds what it sends, so the server may see a little more than was asked for.
    assert [10 < deadline < 21 for deadline in server.deadlines] == [True, True, False, False]
    assert all(0 < deadline < 6 for deadline in server.deadlines[2:])


def test_a_call_over_its_deadline_is_unavailable(server: Server, channel: Channel) -> None:
    release = threading.Event()
    server.unary = lambda request, _: request if release.wait(10) else b""
    with pytest.raises(UnavailableError) as caught:
        raw_unary(channel, "/unary")(b"", 0.1)
    release.set()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stream_yields_what_arrived_and_then_raises(server: Server, channel: Channel) -> None:
    def half(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"1"
        yield b"2"
        context.abort(grpc.StatusCode.INTERNAL, "cannot map to Value type: 7")

    server.stream = half
    received = []
    with pytest.raises(Exception, match="JSON integer") as caught:
        received.extend(raw_stream(channel, methods.BATCH_POLL)(b""))
    assert caught.value.kind is ErrorKind.UNMAPPABLE_PAYLOAD  # type: ignore[attr-defined]
    # extend() keeps what it took before the error.
    assert received == [b"1", b"2"]


def test_a_stream_request_is_sent_at_the_call_not_at_the_first_message(server: Server, channel: Channel) -> None:
    arrived = threading.Event()

    def handle(request: bytes, _: grpc.ServicerContext) -> Iterator[bytes]:
        arrived.set()
        yield request

    server.stream = handle
    messages = raw_stream(channel, methods.BATCH_POLL)(b"x")
    assert arrived.wait(10)
    assert next(messages) == b"x"


def test_messages_beyond_grpcs_default_limit_are_received(server: Server, channel: Channel) -> None:
    server.unary = lambda _, __: b"x" * (6 << 20)
    assert len(raw_unary(channel, "/unary")(b"")) == 6 << 20


def test_a_request_over_the_servers_limit_is_told_by_the_server(channel: Channel) -> None:
    with pytest.raises(MessageTooLargeError, match="4194304"):
        raw_unary(channel, "/unary")(b"x" * (5 << 20))


def test_a_trailer_beyond_grpcs_default_limit_arrives(server: Server, channel: Channel) -> None:
    detail = b"IllegalArgumentException: no"
    stack = b"\x0a" + b"\xa0\x8d\x06" + b"x" * 100_000  # field 1, 100,000 bytes
    server.unary = abort(grpc.StatusCode.INTERNAL, "", stack + b"\x12" + bytes([len(detail)]) + detail)
    with pytest.raises(InvalidRequestError) as caught:
        raw_unary(channel, "/unary")(b"")
    assert caught.value.exception_class == "IllegalArgumentException"


@pytest.mark.parametrize("variable", ["http_proxy", "grpc_proxy"])
@pytest.mark.feature("conductor-python: TLS and proxies")
def test_a_server_on_this_machine_is_reached_without_the_proxy(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    with open_channel(configuration) as channel:
        assert raw_unary(channel, "/unary")(b"direct") == b"direct"

    async def use() -> None:
        async with open_aio_channel(configuration) as channel:
            assert await raw_aio_unary(channel, "/unary")(b"direct") == b"direct"

    asyncio.run(use())


def test_nobody_listening() -> None:
    with open_channel(Configuration("", target="localhost:1")) as channel, pytest.raises(UnavailableError):
        raw_unary(channel, "/unary")(b"")


def test_closing_twice_is_harmless_and_calls_are_refused(channel: Channel) -> None:
    call, stream = raw_unary(channel, "/unary"), raw_stream(channel, "/stream")
    call(b"")
    channel.close()
    channel.close()
    with pytest.raises(ClosedChannelError, match=r"/unary at localhost:\d+: this client is closed"):
        call(b"")
    with pytest.raises(ClosedChannelError):
        stream(b"")


@pytest.mark.parametrize("path", ["/unary", "/stream"])
def test_closing_under_a_call_says_so(server: Server, channel: Channel, path: str) -> None:
    arrived, release = threading.Event(), threading.Event()

    def block(request: bytes, _: grpc.ServicerContext) -> list[bytes] | bytes:
        arrived.set()
        release.wait(10)
        return request if path == "/unary" else [request]

    server.unary = server.stream = block
    call: Callable[[bytes], object] = raw_unary(channel, path)
    if path == "/stream":
        stream = raw_stream(channel, path)
        call = lambda request: list(stream(request))  # noqa: E731
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, b"")
        assert arrived.wait(10)
        channel.close()
        with pytest.raises(ClosedChannelError):
            running.result(10)
        release.set()


def test_calls_with_request_streams_do_not_exist(channel: Channel) -> None:
    with pytest.raises(NotImplementedError):
        channel.stream_stream("/x")
    with pytest.raises(NotImplementedError):
        channel.stream_unary("/x")


def test_connectivity_is_told(channel: Channel) -> None:
    ready = threading.Event()

    def observe(state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.READY:
            ready.set()

    channel.subscribe(observe, try_to_connect=True)
    assert ready.wait(10)
    channel.unsubscribe(observe)


def test_asyncio_calls(server: Server, configuration: Configuration) -> None:
    async def use() -> None:
        async with open_aio_channel(configuration) as channel:
            update = raw_aio_unary(channel, methods.UPDATE_TASK)
            assert await update(b"a") == b"a"
            server.unary = abort(grpc.StatusCode.NOT_FOUND, "No such workflow")
            with pytest.raises(NotFoundError, match="TaskService/UpdateTask at localhost"):
                await update(b"c")
            await channel.close()
            with pytest.raises(ClosedChannelError):
                await update(b"e")
        assert all(10 < deadline < 21 for deadline in server.deadlines)

    asyncio.run(use())


def test_asyncio_tells_a_closed_channel_from_a_cancelled_task(server: Server, configuration: Configuration) -> None:
    arrived, release = threading.Semaphore(0), threading.Event()

    def block(request: bytes, _: grpc.ServicerContext) -> bytes:
        arrived.release()
        release.wait(10)
        return request

    server.unary = block

    async def use() -> None:
        channel = open_aio_channel(configuration)
        update = raw_aio_unary(channel, methods.UPDATE_TASK)
        cancelled, cut_off = (asyncio.ensure_future(update(b"")) for _ in range(2))
        for _ in range(2):
            assert await asyncio.to_thread(arrived.acquire, timeout=10)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await channel.close()
        with pytest.raises(ClosedChannelError):
            await cut_off

    try:
        asyncio.run(use())
    finally:
        release.set()


FORKING = """
    import os, sys
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.errors import ForkedChannelError
    from conductor_grpc.transport.channel import open_channel
    from conductor_grpc.transport.methods import raw_stream, raw_unary

    configuration = Configuration("", target=sys.argv[1])
    channel = open_channel(configuration)
    call, stream = raw_unary(channel, "/unary"), raw_stream(channel, "/stream")
    call(b"before")
    half_read = stream(b"")
    next(half_read)

    def outcome(action):
        try:
            return action()
        except ForkedChannelError as error:
            return f"forked {type(error).__name__ in repr(error)} {sys.argv[1] in str(error)}"

    child = os.fork()
    if child == 0:
        print(outcome(lambda: call(b"")), flush=True)
        print(outcome(lambda: list(stream(b""))), flush=True)
        print(outcome(lambda: next(half_read)), flush=True)
        print(outcome(channel.close), flush=True)
        print(outcome(lambda: call(b"")), flush=True)
        with open_channel(configuration) as own:
            print(outcome(lambda: raw_unary(own, "/unary")(b"own")), flush=True)
        sys.exit(0)
    print("child", os.waitpid(child, 0)[1], flush=True)
    print(outcome(lambda: call(b"after")), [*half_read], flush=True)
"""


def test_a_forked_child_is_told_and_the_parent_goes_on(server: Server, configuration: Configuration) -> None:
    server.stream = lambda _, __: iter([b"1", b"2"])
    script = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), configuration.target]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    told = "forked True True"
    expected = [told, told, told, "None", told, "b'own'", "child 0", "b'after' [b'2']"]
    assert done.stdout.splitlines() == expected, done.stderr


FORKING_DURING_A_CALL = """
    import asyncio, os, sys, threading
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.errors import ForkedChannelError
    from conductor_grpc.transport.channel import open_aio_channel, open_channel
    from conductor_grpc.transport.methods import raw_unary

    configuration = Configuration("", target=sys.argv[1])

    async def open_aio():
        return open_aio_channel(configuration)

    def fork(when):
        child = os.fork()
        if child == 0:
            for opening in (lambda: open_channel(configuration), lambda: asyncio.run(open_aio())):
                try:
                    opening().close()
                except ForkedChannelError as error:
                    print(when, "refused", "while gRPC calls were running" in str(error), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    with open_channel(configuration) as channel:
        call = raw_unary(channel, "/unary")
        fork("before")
        running = threading.Thread(target=call, args=(b"block",))
        running.start()
        call(b"wait for block")
        fork("during")
        call(b"release")
        running.join()
        call(b"release")
    fork("after")

    async def fork_inside_a_loop():
        async with open_aio_channel(configuration):
            fork("loop")

    asyncio.run(fork_inside_a_loop())
    fork("end")
"""


def test_a_child_forked_during_a_call_cannot_open_channels(server: Server, configuration: Configuration) -> None:
    blocked, released = threading.Event(), threading.Event()

    def handle(request: bytes, _: grpc.ServicerContext) -> bytes:
        if request == b"block":
            blocked.set()
            released.wait(30)
        elif request == b"wait for block":
            blocked.wait(30)
        elif request == b"release":
            released.set()
        return request

    server.unary = handle
    script = [
        *(sys.executable, "-W", "ignore", "-c"),
        textwrap.dedent(FORKING_DURING_A_CALL),
        configuration.target,
    ]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    refused = [f"{when} refused True" for when in ("during", "during", "loop", "loop")]
    assert done.stdout.splitlines() == refused, done.stderr


@pytest.mark.bug("python-sdk#387")
def test_the_hot_paths_are_those_of_the_wire_contract() -> None:
    services = (event_service_pb2, metadata_service_pb2, task_service_pb2, workflow_service_pb2)
    paths = {
        f"/{service.full_name}/{method.name}": method.server_streaming
        for module in services
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    unary = (methods.UPDATE_TASK, methods.GET_TASK)
    assert {path: paths[path] for path in unary} == dict.fromkeys(unary, False)
    assert paths[methods.BATCH_POLL]
