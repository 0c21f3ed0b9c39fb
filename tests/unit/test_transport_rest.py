"""The REST client against an HTTP server in this process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from conductor_grpc.errors import (
    AuthenticationError,
    ClosedChannelError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    PayloadDecodeError,
    ServerError,
    ThrottledError,
    TlsError,
    TransientError,
    UnavailableError,
    UnknownServerError,
)
from conductor_grpc.transport.rest import RestClient

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = b"<!doctype html><html><head><title>t</title><style>p{}</style></head><body>The <b>UI</b></body></html>"


class Answers(ThreadingHTTPServer):
    """Gives every request the same answer, and keeps what was asked on which connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("localhost", 0), Handler)
        self.status = 200
        self.body: bytes = b"[]"
        self.headers: dict[str, str] = {}
        self.hang_up = False
        self.release: threading.Event | None = None
        self.arrived = threading.Semaphore(0)
        self.hung_up = threading.Event()
        self.requests: list[tuple[int, str]] = []

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self.server_port}/api"

    def handle_error(self, *_: object) -> None: ...  # clients that hang up: prints their traceback otherwise


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answers

    def do_GET(self) -> None:
        self.server.requests.append((self.client_address[1], self.path))
        self.server.arrived.release()
        if self.server.release is not None:
            self.server.release.wait(10)
        body = self.server.body  # once: the test gives the next one when the client has this one's headers
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hang_up  # without saying so in a header, as after an idle time

    def finish(self) -> None:
        super().finish()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.server.hung_up.set()

    def log_message(self, *_: Any) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(answers: Answers) -> Iterator[RestClient]:
    with RestClient(answers.base_url, timeout=5.0) as opened:
        yield opened


def test_numbers_are_read_as_from_grpc_and_integers_stay_exact(answers: Answers, client: RestClient) -> None:
    answers.body = b'[{"taskId": "t", "inputData": {"x": 7, "big": 9007199254740993, "y": 1.0, "z": 1.5, "e": 1e20}}]'
    (task,) = client.pending_tasks("resize", 50)
    assert task["inputData"] == {"x": 7, "big": 9007199254740993, "y": 1, "z": 1.5, "e": 1e20}
    assert [type(value) for value in task["inputData"].values()] == [int, int, int, float, float]
    assert answers.requests[0][1] == "/api/admin/task/resize?count=50"


def test_names_are_encoded(answers: Answers, client: RestClient) -> None:
    client.pending_tasks("a/b é?", 1)
    client.poll_batch("a b", "w&1", "d=é", 3, -1)
    client.poll_batch("a", "w", None, 3, 100)
    assert [path for _, path in answers.requests] == [
        "/api/admin/task/a%2Fb%20%C3%A9%3F?count=1",
        "/api/tasks/poll/batch/a%20b?workerid=w%261&count=3&timeout=-1&domain=d%3D%C3%A9",
        "/api/tasks/poll/batch/a?workerid=w&count=3&timeout=100",
    ]


def test_one_task(answers: Answers, client: RestClient) -> None:
    answers.body = b'{"taskId": "t 1"}'
    assert client.get_task("t 1") == {"taskId": "t 1"}
    assert answers.requests[0][1] == "/api/tasks/t%201"


def test_any_other_json(answers: Answers, client: RestClient) -> None:
    answers.body = b'{"n": 7}'
    assert client.get_json("/workflow/w%201", {"includeTasks": "false"}) == {"n": 7}
    assert answers.requests[0][1] == "/api/workflow/w%201?includeTasks=false"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"status":404,"message":"Task not found for taskId: nope","retryable":false}'),
        (404, b'{"status":404,"message":"No such task found by id: nope"}'),
        (200, b""),
    ],
)
def test_an_unknown_task_is_none(answers: Answers, client: RestClient, status: int, body: bytes) -> None:
    answers.status, answers.body = status, body
    assert client.get_task("nope") is None


def test_a_wrong_path_is_not_taken_for_an_unknown_task(answers: Answers, client: RestClient) -> None:
    answers.status, answers.body = 404, b'{"status":404,"message":"No static resource api/x/tasks/t."}'
    with pytest.raises(NotFoundError, match=r"base_url \(--base-url\) leads to the server's API"):
        client.get_task("t")


def test_version(answers: Answers, client: RestClient) -> None:
    answers.body = b"3.32.1\n"
    assert client.version() == "3.32.1"
    answers.body = PAGE
    with pytest.raises(PayloadDecodeError, match=r"expected a version, got 'The UI'\. Check that base_url"):
        client.version()


@pytest.mark.parametrize("body", [PAGE, b"{}", b"[1]", b'[{"a": 1}', b"", b"[" * 100_000, b"\xff"])
def test_answers_that_are_no_list_of_tasks(answers: Answers, client: RestClient, body: bytes) -> None:
    answers.body = body
    with pytest.raises(PayloadDecodeError, match=r"GET /admin/task/a at http://localhost"):
        client.pending_tasks("a")
    answers.body = b"[]"
    assert client.pending_tasks("a") == []


CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ("status", "body", "leaf", "code"),
    [
        (400, {"message": "Long Poll Timeout value"}, InvalidRequestError, CODE.INVALID_ARGUMENT),
        (401, {}, AuthenticationError, CODE.UNAUTHENTICATED),
        (403, {}, AuthenticationError, CODE.PERMISSION_DENIED),
        (404, {"message": "gone"}, NotFoundError, CODE.NOT_FOUND),
        (405, {}, InvalidRequestError, CODE.UNKNOWN),
        (409, {"message": "exists"}, ConflictError, CODE.FAILED_PRECONDITION),
        (413, {}, MessageTooLargeError, CODE.RESOURCE_EXHAUSTED),
        (429, {}, ThrottledError, CODE.RESOURCE_EXHAUSTED),
        (500, {"message": "boom"}, UnknownServerError, CODE.INTERNAL),
        (500, {"message": "boom", "retryable": True}, TransientError, CODE.INTERNAL),
        (500, {"message": "[SQLITE_BUSY]"}, TransientError, CODE.INTERNAL),
        (500, [], UnknownServerError, CODE.INTERNAL),
        (502, {}, UnavailableError, CODE.UNAVAILABLE),
        (503, {}, UnavailableError, CODE.UNAVAILABLE),
        (504, {}, UnavailableError, CODE.DEADLINE_EXCEEDED),
    ],
)
def test_http_errors_become_the_leaves(
    answers: Answers,
    client: RestClient,
    status: int,
    body: dict[str, Any],
    leaf: type[ServerError],
    code: grpc.StatusCode,
) -> None:
    answers.status, answers.body = status, json.dumps(body).encode()
    with pytest.raises(ServerError) as caught:
        client.pending_tasks("a")
    assert type(caught.value) is leaf
    assert caught.value.code is code
    assert caught.value.method == "GET /admin/task/a"
    assert f"at {client.base_url}: " in str(caught.value)
    assert f"[HTTP {status}]" in str(caught.value)
    if isinstance(body, dict) and "message" in body:
        assert caught.value.details == body["message"]


def test_a_page_as_error_is_read_without_its_markup(answers: Answers, client: RestClient) -> None:
    answers.status, answers.body = 400, PAGE
    with pytest.raises(InvalidRequestError, match=r": The UI \[HTTP 400\]\. .* contain a slash"):
        client.pending_tasks("a/b")


def test_a_redirect_tells_where_to(answers: Answers, client: RestClient) -> None:
    answers.status, answers.headers = 301, {"Location": "https://conductor/api"}
    with pytest.raises(InvalidRequestError, match="https://conductor/api"):
        client.version()


def test_connections_are_used_again(answers: Answers, client: RestClient) -> None:
    for _ in range(5):
        client.pending_tasks("a")
    answers.status = 500
    with pytest.raises(UnknownServerError):
        client.pending_tasks("a")
    answers.status = 200
    client.pending_tasks("a")
    assert len({connection for connection, _ in answers.requests}) == 1


def test_a_connection_that_the_server_gave_up_is_replaced(answers: Answers, client: RestClient) -> None:
    answers.hang_up = True
    for _ in range(3):
        answers.hung_up.clear()
        assert client.pending_tasks("a") == []
        assert answers.hung_up.wait(10)
    assert len({connection for connection, _ in answers.requests}) == 3


def test_threads_call_at_the_same_time(answers: Answers, client: RestClient) -> None:
    answers.release = threading.Event()
    with ThreadPoolExecutor(12) as pool:
        running = [pool.submit(client.pending_tasks, f"t{number}") for number in range(12)]
        arrived = [answers.arrived.acquire(timeout=10) for _ in running]
        answers.release.set()
        assert [future.result(10) for future in running] == [[]] * 12
    assert all(arrived)
    assert sorted(path for _, path in answers.requests) == sorted(
        f"/api/admin/task/t{number}?count=1000" for number in range(12)
    )


def test_an_answer_that_does_not_come(answers: Answers) -> None:
    answers.release = threading.Event()
    with RestClient(answers.base_url, timeout=0.1) as client, pytest.raises(UnavailableError) as caught:
        client.pending_tasks("a")
    answers.release.set()
    assert caught.value.code is CODE.DEADLINE_EXCEEDED


def test_a_poll_is_not_given_up_before_the_server_has_answered(answers: Answers) -> None:
    answers.release = threading.Event()
    threading.Timer(0.5, answers.release.set).start()
    with RestClient(answers.base_url, timeout=0.1) as client:
        assert client.poll_batch("a", "w", None, 1, 100) == []


def test_nobody_listening() -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        RestClient(f"localhost:{port}") as client,
        pytest.raises(UnavailableError, match=r"base_url \(--base-url\) is its REST"),
    ):
        client.version()


def test_a_host_name_that_cannot_be_one() -> None:
    with RestClient("ä" * 70) as client, pytest.raises(UnavailableError, match=r"base_url \(--base-url\) is its REST"):
        client.version()


def test_a_port_that_speaks_something_else() -> None:
    with socket.create_server(("localhost", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"\x00\x00\x18\x04\x00\x00\x00 not HTTP/1\r\n\r\n")

        answered = pool.submit(answer)
        with (
            RestClient(f"localhost:{listener.getsockname()[1]}") as client,
            pytest.raises(UnavailableError, match="does not speak HTTP/1"),
        ):
            client.version()
        answered.result(10)


def test_plain_http_where_tls_is_expected(answers: Answers) -> None:
    url = answers.base_url.replace("http:", "https:")
    with RestClient(url) as client, pytest.raises(TlsError, match="does not speak TLS"):
        client.version()


def test_closing_twice_is_harmless_and_calls_are_refused(answers: Answers, client: RestClient) -> None:
    client.pending_tasks("a")
    client.close()
    client.close()
    assert answers.hung_up.wait(10)
    with pytest.raises(ClosedChannelError, match="this client is closed"):
        client.pending_tasks("a")


def test_closing_under_a_call_lets_it_end_and_then_hangs_up(answers: Answers, client: RestClient) -> None:
    answers.release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.pending_tasks, "a")
        assert answers.arrived.acquire(timeout=10)
        client.close()
        answers.release.set()
        assert running.result(10) == []
    assert answers.hung_up.wait(10)


def test_a_bad_base_url() -> None:
    with pytest.raises(ConfigurationError, match="scheme 'ftp'"):
        RestClient("ftp://localhost/api")


FORKING = """
    import os, sys
    from conductor_grpc.transport.rest import RestClient

    client = RestClient(sys.argv[1])
    client.pending_tasks("parent")
    child = os.fork()
    client.pending_tasks("parent" if child else "child")
    if child:
        print(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_has_connections_of_its_own(answers: Answers) -> None:
    script = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), answers.base_url]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr
    by_child = {connection for connection, path in answers.requests if "child" in path}
    by_parent = {connection for connection, path in answers.requests if "parent" in path}
    assert (len(by_child), len(by_parent), len(by_child | by_parent)) == (1, 1, 2)
