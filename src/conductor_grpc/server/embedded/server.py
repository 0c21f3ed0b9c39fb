"""A Conductor server within this process: in memory or on an SQLite file, started in milliseconds, without Java."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.embedded.address import Address
from conductor_grpc.server.embedded.clock import AlarmThread, Clock
from conductor_grpc.server.embedded.engine.engine import Engine
from conductor_grpc.server.embedded.engine.memory_store import MemoryStore
from conductor_grpc.server.embedded.engine.store import Store
from conductor_grpc.server.embedded.services import answers, reflection
from conductor_grpc.server.embedded.services.event import EventService
from conductor_grpc.server.embedded.services.health import HealthService
from conductor_grpc.server.embedded.services.metadata import MetadataService
from conductor_grpc.server.embedded.services.task import MOST_WAITING_POLLS, TaskService
from conductor_grpc.server.embedded.services.workflow import WorkflowService

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

THREADS: Final = MOST_WAITING_POLLS + 64
"""Calls served at a time; threads are made as they are needed. A poll has one for as long as it waits."""

_GRACE: Final = 2.0
"""Seconds that calls get to end when the server stops. Polls end at once."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # else a second server would share the port, and get half of the calls
    # The released server's limits are kept in strict mode by the handlers, which give its answers.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 1 << 20),
)

_SERVICES: Final = (TaskService, WorkflowService, MetadataService, EventService)


class EmbeddedServer:
    """One server. Context manager. It takes every call without authentication: for development and tests.

    Whoever starts it stops it: an interpreter that ends waits for the polls of a server that still runs.

    :param port: TCP port; 0 takes a free one, which stays the same over later starts.
    :param host: where to listen; by default only this machine can reach it.
    :param strict: with the released server's faults and limits: integers that it cannot send, its status codes, polls
        that wait for a full batch and strand what they took for a client that is gone, 4 MiB for a request. Without
        it, a server that does the same and is easier to work with.
    :param database: an SQLite file that outlives the process; what was acknowledged is in it, even after `kill -9`.
        None: in memory, and gone with `stop`.
    :param keep_finished: how many workflows that have ended can still be read; older ones are forgotten.

    Raises LauncherError for arguments that cannot work. All methods are thread-safe.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        strict: bool = False,
        database: str | Path | None = None,
        keep_finished: int = 5_000,
    ) -> None:
        if not isinstance(keep_finished, int) or keep_finished < 0:
            raise LauncherError(f"keep_finished is {keep_finished!r}, expected a number of workflows, 0 or more")
        self._address = Address(host, port)
        self._strict = strict
        self._database = None if database is None else Path(database).absolute()
        self._keep_finished = keep_finished
        self._clock = Clock()
        self._running: _Running | None = None
        self._changing = threading.Lock()

    @property
    def target(self) -> str:
        """gRPC address, ``host:port``. LauncherError while it is not known: before the first start, with port 0."""
        if self._address.port == 0:
            raise LauncherError("the server takes its port when it is started: start it before you ask for its target")
        return self._address.target

    @property
    def strict(self) -> bool:
        """True with the released server's faults."""
        return self._strict

    @property
    def running(self) -> bool:
        return self._running is not None

    @property
    def clock(self) -> Clock:
        """The server's time, which ``clock.advance(seconds)`` moves on. Each start has a new one; time goes on."""
        return self._clock

    def start(self) -> None:
        """Starts the server; when this returns, it answers. Takes less than half a second, and longer with a large
        database. May be called again after `stop`. Raises LauncherError, its message one line: nothing runs then.
        """
        with self._changing:
            if self._running is not None:
                raise LauncherError(f"this server already runs, at {self.target}; stop it first")
            self._address.require_free()
            clock = Clock()
            clock.advance(max(0.0, (self._clock.now() - clock.now()) / 1000))
            store = MemoryStore() if self._database is None else Store(self._database)
            try:
                running = _Running(self._address, clock, store, strict=self._strict, keep_finished=self._keep_finished)
            except BaseException:
                store.close()
                raise
            self._clock, self._running, self._address = clock, running, Address(self._address.host, running.port)

    def stop(self) -> None:
        """Stops the server: polls that wait get empty answers, and its threads are gone when this returns.

        Takes milliseconds, and up to two seconds for calls that are in the middle of something. Idempotent; fine
        before a start.
        """
        with self._changing:
            if self._running is not None:
                self._running.stop()
                self._running = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Running:
    """What a started server consists of."""

    def __init__(self, address: Address, clock: Clock, store: MemoryStore, *, strict: bool, keep_finished: int) -> None:
        self._store = store
        self._engine = Engine(clock, store, strict=strict, keep_finished=keep_finished)
        self._threads = ThreadPoolExecutor(THREADS, "embedded-server")
        self._server = grpc.server(self._threads, options=_OPTIONS)
        self._alarms = AlarmThread(clock)
        services = (*(each(self._engine) for each in _SERVICES), HealthService())
        known = reflection.handlers([each.DESCRIPTOR.full_name for each in services], strict=strict)
        for service in services:
            known |= answers.handlers(service, strict=strict)
        self._server.add_generic_rpc_handlers((answers.Router(known, strict=strict),))
        try:
            self.port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise LauncherError(f"cannot listen on {address}: {error}") from error
        self._server.start()
        self._alarms.start()

    def stop(self) -> None:
        """In this order: no poll waits any more, so calls end; no call and no alarm is left that would save."""
        with self._engine.lock:
            self._engine.queues.close()
        self._server.stop(_GRACE).wait()
        self._threads.shutdown()
        self._alarms.stop()
        self._alarms.join()
        self._store.close()
