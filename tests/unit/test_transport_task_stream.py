"""Long lists of tasks: read piece by piece, and no further than allowed."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc.errors import NotFoundError, PayloadDecodeError, UnavailableError
from conductor_grpc.transport import task_stream
from conductor_grpc.transport.rest import RestClient

if TYPE_CHECKING:
    from collections.abc import Iterator


_TAIL = b"\n" * 100_000
"""More than is read ahead: what is left of an answer would show in the next."""


class Server:
    """Answers each request with `head` and then the pieces, as long as it is listened to."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.pieces: Iterator[bytes] = iter([])
        self.sent = 0
        self.connections = 0
        self.done = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, pieces: Iterator[bytes] | list[bytes]) -> None:
        self.pieces = iter(pieces)

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                connection.sendall(f"HTTP/1.1 {self.status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                for piece in self.pieces:
                    connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.sent += len(piece)
                connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # hung up
        finally:
            connection.close()
            self.done.set()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Iterator[RestClient]:
    with RestClient(server.url, timeout=10.0) as client:
        yield client


def read(client: RestClient, most_bytes: int = 1 << 30, seconds: float = 60.0) -> task_stream.Listing:
    return client.list_pending("work", 5, lambda task: task.get("mine", False), most_bytes=most_bytes, seconds=seconds)


def documents(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"taskId": f"ä{n}", "mine": n % 3 == 0, "inputData": {"n": 7, "f": 1.5, "e": 2.0}, **fields}
        for n in range(count)
    ]


def in_pieces(text: str, size: int) -> list[bytes]:
    data = text.encode()
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("chunk", [3, 7, 64 * 1024])
@pytest.mark.parametrize("indent", [None, 2])
def test_wherever_the_pieces_end_the_wanted_tasks_are_found(
    server: Server, client: RestClient, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(task_stream, "CHUNK", chunk)
    text = json.dumps(documents(7), ensure_ascii=False, indent=indent)
    for _ in range(2):
        server.answer([*in_pieces(f" {text}", 5), _TAIL])
        listing = read(client)
        assert listing.tasks == [each for each in documents(7) if each["mine"]]
        assert (listing.seen, listing.cut, listing.bytes) == (7, "", len(text.encode()) + 1 + len(_TAIL))
    assert server.connections == 1, "it was not read to its end"
    assert isinstance(listing.tasks[0]["inputData"]["n"], int)
    assert isinstance(listing.tasks[0]["inputData"]["e"], int), "read as from gRPC"


def test_an_empty_list(server: Server, client: RestClient) -> None:
    server.answer([b"[]"])
    assert read(client) == task_stream.Listing(bytes=2)


def test_beyond_the_bound_nothing_is_read_and_what_was_read_counts(server: Server, client: RestClient) -> None:
    """The server would send for ever."""
    (one,) = documents(1, pad="x" * 2_000)
    piece = json.dumps(one).encode() + b","

    def endless() -> Iterator[bytes]:
        yield b"["
        while True:
            yield piece

    server.answer(endless())
    listing = read(client, most_bytes=1_000_000)
    assert "longer than the 1000000 bytes" in listing.cut
    assert 1_000_000 <= listing.bytes < 1_100_000
    assert len(listing.tasks) == listing.seen >= 400
    assert server.done.wait(10), "the server was not hung up on"
    server.answer([b"[]"])
    assert read(client).cut == "", "the next answer is not the rest of this one"
    assert server.connections == 2


def test_after_the_time_nothing_is_read(server: Server, client: RestClient) -> None:
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"[" + json.dumps(documents(1, pad="x" * task_stream.CHUNK)[0]).encode() + b","
        go_on.wait(10)
        while True:
            yield b'{"taskId": "late", "mine": true},'

    server.answer(slowly())
    threading.Timer(0.3, go_on.set).start()
    listing = read(client, seconds=0.1)
    assert "takes longer than the 0 s" in listing.cut
    assert listing.tasks[0]["taskId"] == "ä0"


@pytest.mark.parametrize(
    "text", ["", "null", "{}", "[1]", '[{"a": 1}', '[{"a": }]', "<html>the UI</html>", "[" + '{"a":' * 50_000]
)
def test_what_is_no_list_of_tasks(server: Server, client: RestClient, text: str) -> None:
    server.answer(in_pieces(text, 1_000))
    with pytest.raises(PayloadDecodeError, match=r"expected a list of tasks.*Check that base_url"):
        read(client)


def test_bytes_that_are_no_text(server: Server, client: RestClient) -> None:
    server.answer([b'[{"a": "\xff"}]'])
    with pytest.raises(PayloadDecodeError, match="expected a list of tasks"):
        read(client)


def test_an_error_answer_is_an_error(server: Server, client: RestClient) -> None:
    server.status = "404 Not Found"
    server.answer([b'{"message": "No static resource"}'])
    with pytest.raises(NotFoundError):
        read(client)


def test_a_connection_that_breaks_off(server: Server, client: RestClient) -> None:
    def broken() -> Iterator[bytes]:
        yield b'[{"a": 1},'
        raise OSError

    server.answer(broken())
    with pytest.raises(UnavailableError):
        read(client)
