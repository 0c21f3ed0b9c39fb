"""A proxy on loopback, between a worker and its server, that breaks what goes through it.

For a gRPC connection it knows HTTP/2 frames and gRPC calls, so that a fault can hit one call, or come after the k-th
message of an answer. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from faults import frames
from faults.frames import Frame, FrameReader, MessageReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from typing_extensions import Self

T = TypeVar("T")

_CHUNK: Final = 1 << 16
_UNAVAILABLE: Final = 14
_INTERNAL_ERROR: Final = 2
_CANCEL: Final = 8


class Fate(enum.Enum):
    """What becomes of one call."""

    PASS = enum.auto()
    REFUSED = enum.auto()
    """The server never sees the request; the client gets UNAVAILABLE."""
    ANSWER_LOST = enum.auto()
    """The server does what it is asked, and the client gets a reset stream instead of the answer."""


@dataclass(slots=True)
class Call:
    """One RPC on its way."""

    method: str
    request: bytes = b""
    """The request's message, once it is complete."""
    messages: int = 0
    """How many messages of the answer have come."""
    fate: Fate = Fate.PASS
    delay: float = 0.0
    """Seconds for which the answer is held back."""
    _reader: MessageReader = field(default_factory=MessageReader)
    _answers: MessageReader = field(default_factory=MessageReader)
    _held: list[bytes] | None = None


class Plan:
    """Decides about each call. Its methods are called in the proxy's thread and must not block."""

    def requested(self, call: Call) -> None:
        """The request is complete and has not reached the server yet: set `fate` and `delay` here."""

    def answered(self, call: Call) -> bool:
        """One more message of the answer was passed on; True: the connection is reset right behind it."""
        del call
        return False

    def ended(self, call: Call) -> None:
        """The server has ended the call, with or without an error."""


class Mode(enum.Enum):
    """What becomes of everything that comes."""

    PASS = enum.auto()
    HOLD = enum.auto()
    """It is kept back, as by a network that loses packets for a while: later it arrives."""
    SWALLOW = enum.auto()
    """It is gone, and nobody is told; connections that lost something are reset when that is over."""


class Proxy:
    """From a port of its own to a server. Context manager. Its methods may be called by any thread."""

    def __init__(self, target: str, plan: Plan | None = None, *, http2: bool = True) -> None:
        """`target` is `host:port`; without `http2` nothing is known of what goes through, and the plan not asked."""
        host, _, port = target.rpartition(":")
        self._upstream = (host, int(port))
        self.plan = plan or Plan()
        self.http2 = http2
        self.port = 0
        self.mode = Mode.PASS
        self.connections = 0
        """How many were made."""
        self.swallowed = 0
        """How many bytes have been lost by `swallow`, or after `half_open`."""
        self.resets = 0
        """How many connections were reset."""
        self.untold: list[str] = []
        """What was not understood; a row that needs to understand it has failed."""
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)

    # -- faults of whole connections --

    def hold(self) -> None:
        """Nothing passes from now on, until `resume`."""
        self._call(lambda: self._set_mode(Mode.HOLD))

    def swallow(self) -> None:
        """All is lost from now on, until `resume`; connections stay, and new ones are accepted."""
        self._call(lambda: self._set_mode(Mode.SWALLOW))

    def resume(self) -> None:
        def resume() -> None:
            self._set_mode(Mode.PASS)
            for link in list(self._links):
                if link.lossy:
                    self.reset_link(link)

        self._call(resume)

    def reset(self) -> int:
        """Reset every connection; how many there were."""

        def reset() -> int:
            links = [link for link in self._links if not link.closed]
            for link in links:
                self.reset_link(link)
            return len(links)

        return self._call(reset)

    def half_open(self) -> int:
        """The server's side of every connection ends, and the client is not told; how many there were."""

        def half_open() -> int:
            links = [link for link in self._links if link.upstream is not None and not link.closed]
            for link in links:
                link.half_open()
            return len(links)

        return self._call(half_open)

    def reset_link(self, link: _Link) -> None:
        """In the proxy's thread."""
        self.resets += 1
        link.reset()

    # -- inside --

    def _set_mode(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.HOLD:
            self._flowing.clear()
        else:
            self._flowing.set()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._flowing, self._ended = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for link in list(self._links):
            link.reset()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links.add(link)
        self._tasks.add(task)
        try:
            await link.run(self._upstream)
        finally:
            self._links.discard(link)
            self._tasks.discard(task)

    async def passing(self) -> bool:
        """Wait while all is held; whether what was read then may pass."""
        await self._flowing.wait()
        return self.mode is Mode.PASS


class _Link:
    """One connection of a client, and the one to the server behind it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self.client = writer
        self.upstream: asyncio.StreamWriter | None = None
        self.lossy = False
        """Something was swallowed, so that the two sides do not understand each other any more."""
        self.closed = False
        self._is_half_open = False
        self._calls: dict[int, Call] = {}
        self._from_client = FrameReader(preface=len(frames.PREFACE))
        self._from_server = FrameReader()
        self._first_block_passed = False

    async def run(self, upstream: tuple[str, int]) -> None:
        pumps: list[Coroutine[None, None, None]] = []
        try:
            if await self._proxy.passing():
                answers, self.upstream = await asyncio.open_connection(*upstream)
                pumps.append(self._pump(answers, self.client, self._answer))
            pumps.append(self._pump(self._reader, self.upstream, self._request))
            await asyncio.gather(*pumps)
        except OSError:
            pass  # a server that is down: the client sees its connection closed
        except Exception as error:
            self._proxy.untold.append(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.close()

    def close(self) -> None:
        self.closed = True
        for writer in (self.client, self.upstream):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        """As a crashed machine or an impatient firewall does: RST, and what was not sent is gone."""
        self.closed = True
        for writer in (self.client, self.upstream):
            if writer is not None:
                _reset(writer)

    def half_open(self) -> None:
        self._is_half_open = True
        if self.upstream is not None:
            _reset(self.upstream)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
        work: Callable[[bytes], Awaitable[None]],
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                passing = await self._proxy.passing()
                if self._is_half_open or not passing or writer is None or self.lossy:
                    self._proxy.swallowed += len(data)
                    self.lossy = True
                    continue
                if self._proxy.http2:
                    await work(data)
                else:
                    writer.write(data)
                    await writer.drain()
        if self._is_half_open and reader is not self._reader:
            return  # the server's side has ended; the client goes on talking to nobody
        self.close()

    async def _request(self, data: bytes) -> None:
        assert self.upstream is not None
        out = bytearray()
        for item in self._from_client.feed(data):
            out += item if isinstance(item, bytes) else self._request_frame(item)
        if out and not self.closed:
            self.upstream.write(bytes(out))
            await self.upstream.drain()

    def _request_frame(self, frame: Frame) -> bytes:
        """What of it goes to the server."""
        if frame.kind == frames.SETTINGS:
            return frames.without_header_table(frame)
        if frame.kind == frames.HEADERS:
            method = frames.method_of(frame)
            if not method and frame.stream not in self._calls:
                self._proxy.untold.append(f"the headers {frame.wire!r}")
            self._calls.setdefault(frame.stream, Call(method))
            return frame.wire
        call = self._calls.get(frame.stream)
        if frame.kind == frames.RST_STREAM:
            self._calls.pop(frame.stream, None)
            return frame.wire
        if frame.kind != frames.DATA or call is None:
            return frame.wire
        for message in call._reader.feed(frame.data):
            call.request = message
            if self._first_block_passed:
                self._proxy.plan.requested(call)
        if call.fate is not Fate.REFUSED:
            return frame.wire
        answer = frames.status_only(frame.stream, _UNAVAILABLE, "refused by the proxy")
        self.client.write(frames.window_update(0, len(frame.payload)) + answer if frame.payload else answer)
        self._calls.pop(frame.stream)
        return frames.reset_stream(frame.stream, _CANCEL)

    async def _answer(self, data: bytes) -> None:
        out = bytearray()
        for item in self._from_server.feed(data):
            assert isinstance(item, Frame)
            passed, cut = self._answer_frame(item)
            out += passed
            if cut:
                await self._write(out)
                while self.client.transport.get_write_buffer_size():  # noqa: ASYNC110 - a reset drops it
                    await asyncio.sleep(0)
                self._proxy.reset_link(self)
                return
        await self._write(out)

    async def _write(self, out: bytes | bytearray) -> None:
        if out and not self.closed:
            self.client.write(bytes(out))
            await self.client.drain()

    def _answer_frame(self, frame: Frame) -> tuple[bytes, bool]:
        """What of it goes to the client now, and whether that is the last."""
        if frame.kind == frames.SETTINGS:
            return frames.without_header_table(frame), False
        call = self._calls.get(frame.stream)
        if frame.kind == frames.HEADERS:
            self._first_block_passed = True
        if call is None or frame.kind not in (frames.DATA, frames.HEADERS, frames.CONTINUATION, frames.RST_STREAM):
            return frame.wire, False
        cut = False
        if frame.kind == frames.DATA:
            for _ in call._answers.feed(frame.data):
                call.messages += 1
                cut = cut or self._proxy.plan.answered(call)
        over = frame.ends_stream or frame.kind == frames.RST_STREAM
        if over:
            self._proxy.plan.ended(call)
            del self._calls[frame.stream]
        if call.fate is Fate.ANSWER_LOST:
            return self._lose(frame, over=over), False
        if call.delay:
            self._hold(call, frame, over=over)
            return b"", False
        return frame.wire, cut

    def _lose(self, frame: Frame, *, over: bool) -> bytes:
        if frame.kind == frames.DATA and frame.payload and self.upstream is not None:
            self.upstream.write(frames.window_update(0, len(frame.payload)))
        return frames.reset_stream(frame.stream, _INTERNAL_ERROR) if over else b""

    def _hold(self, call: Call, frame: Frame, *, over: bool) -> None:
        if call._held is None:
            call._held = []
        call._held.append(frame.wire)
        if over:
            asyncio.get_running_loop().call_later(call.delay, self._let_go, b"".join(call._held))

    def _let_go(self, wire: bytes) -> None:
        if not self.closed and not self.lossy:
            self.client.write(wire)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
