"""Faults for the doctor to find: each is planted, and seen to be there, before it is asked."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from concurrent import futures
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import grpc
import pytest
from rest_user import RestUser
from tls_stand import Certificates, Nginx, TokenService

from conductor_grpc import (
    Configuration,
    MetadataClient,
    TaskClient,
    TaskResult,
    TaskResultStatus,
    UnavailableError,
    UnmappablePayloadError,
    WorkflowClient,
)
from conductor_grpc.poller.journal.folder import FolderLock
from conductor_grpc.poller.journal.records import FILE_HEADER, Kind, encode
from conductor_grpc.server import EmbeddedServer, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conftest import ServerAddress


@dataclass(frozen=True)
class Asked:
    """How the doctor is asked about a planted fault, and what else it has to say because of it."""

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    open_files: int | None = None
    too: frozenset[str] = frozenset()
    """Codes of what is wrong besides, as a consequence."""


@dataclass(frozen=True)
class Site:
    """A healthy set-up on the real server: a worker module, its definition, and nothing else."""

    server: ServerAddress
    folder: Path
    task_type: str

    @classmethod
    def made(cls, server: ServerAddress, folder: Path) -> Site:
        site = cls(server, folder, f"doctor_{secrets.token_hex(4)}")
        site.module_with("")
        site.user.register(site.task_type, site.workflow, {"x": "${workflow.input.x}"})
        return site

    @property
    def module(self) -> Path:
        return self.folder / f"{self.task_type}_workers.py"

    @property
    def workflow(self) -> str:
        return f"{self.task_type}_workflow"

    @property
    def user(self) -> RestUser:
        return RestUser(self.server.base_url)

    @property
    def configuration(self) -> Configuration:
        return Configuration("", target=self.server.target)

    def module_with(self, options: str, more: str = "") -> None:
        self.module.write_text(
            f"from conductor_grpc import worker_task\n{more}\n"
            f"@worker_task({self.task_type!r}{options})\ndef work():\n    pass\n"
        )

    def redefine(self, **fields: Any) -> dict[str, Any]:
        """Changes the task definition; as the server has it then."""
        stored = self.user.call("GET", f"/metadata/taskdefs/{self.task_type}")
        self.user.call("PUT", "/metadata/taskdefs", {**stored, **fields})
        return dict(self.user.call("GET", f"/metadata/taskdefs/{self.task_type}"))

    def poll(self, worker_id: str = "somebody", count: int = 1) -> int:
        """As a worker does that was here just now; how many tasks it got."""
        with TaskClient(self.configuration) as client:
            return len(client.batch_poll(self.task_type, count, wait_ms=1, worker_id=worker_id).tasks)

    def waiting(self) -> int:
        with TaskClient(self.configuration) as client:
            return client.queue_sizes([self.task_type])[self.task_type]


@dataclass(frozen=True)
class Fault:
    """What is planted, and the finding that is expected."""

    code: str
    severity: str
    plant: Callable[[Site], AbstractContextManager[Asked]]


FAULTS: dict[str, Fault] = {}


def fault(code: str, name: str = "", *, severity: str = "") -> Callable[[Callable[[Site], Iterator[Asked]]], None]:
    def add(plant: Callable[[Site], Iterator[Asked]]) -> None:
        expected = severity or ("error" if code in ERRORS or code.startswith(("grpc.", "rest.")) else "warning")
        FAULTS[name or code] = Fault(code, expected, contextlib.contextmanager(plant))

    return add


ERRORS = {"clock.skew", "definition.missing", "definition.conflict", "definition.other-server", "integers.no-rest"} | {
    "workers.module"
}


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


# -- the way to the server --


@fault("grpc.refused")
def nobody_listens(_site: Site) -> Iterator[Asked]:
    (port,) = free_ports(1)
    assert not _answers(port)
    yield Asked(("--target", f"localhost:{port}"))


@fault("grpc.name")
def no_such_name(_site: Site) -> Iterator[Asked]:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("conductor.invalid", 8090)
    yield Asked(("--target", "conductor.invalid:8090"))


@fault("grpc.rest-port")
def rest_port_for_grpc(site: Site) -> Iterator[Asked]:
    port = site.server.base_url.rpartition(":")[2].partition("/")[0]
    with pytest.raises(UnavailableError), TaskClient(Configuration("", target=f"localhost:{port}")) as client:
        client.queue_sizes([])
    yield Asked(("--target", f"localhost:{port}"))


@fault("grpc.unavailable")
def somebody_who_says_nothing(_site: Site) -> Iterator[Asked]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert _answers(port)
        yield Asked(("--target", f"127.0.0.1:{port}", "--timeout", "6"))


@fault("grpc.other-server")
def no_conductor(_site: Site) -> Iterator[Asked]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert _answers(port)
        yield Asked(("--target", f"127.0.0.1:{port}"))
    finally:
        server.stop(0).wait()


@fault("grpc.proxy")
def proxy_that_is_not_there(_site: Site) -> Iterator[Asked]:
    (port,) = free_ports(1)
    assert not _answers(port)
    with EmbeddedServer(host="127.0.0.2", strict=True) as server:  # no name of this machine: proxies count for it
        with TaskClient(Configuration("", target=server.target)) as client:
            assert client.queue_sizes([]) == {}
        yield Asked(("--target", server.target), {"http_proxy": f"http://user:s3cret@127.0.0.1:{port}", "no_proxy": ""})


@fault("grpc.tls-wanted")
def tls_is_forgotten(site: Site) -> Iterator[Asked]:
    with Nginx(site.folder / "nginx", Certificates(site.folder), site.server.target) as nginx:
        assert _answers(nginx.port)
        yield Asked(("--target", nginx.target))


@fault("grpc.tls")
def another_authority(site: Site) -> Iterator[Asked]:
    (site.folder / "other").mkdir()
    other = Certificates(site.folder / "other")
    with Nginx(site.folder / "nginx", Certificates(site.folder), site.server.target) as nginx:
        assert _answers(nginx.port)
        yield Asked(("--target", nginx.target, "--tls-ca", str(other.ca)))


@fault("grpc.credentials", "grpc.credentials: none")
def no_token(site: Site) -> Iterator[Asked]:
    certificates = Certificates(site.folder)
    with Nginx(site.folder / "nginx", certificates, site.server.target, tokens=("good",)) as nginx:
        yield Asked(("--target", nginx.target, "--tls-ca", str(certificates.ca)))


KEY = {"CONDUCTOR_AUTH_KEY": "the-key", "CONDUCTOR_AUTH_SECRET": "the-s3cret"}


@fault("grpc.credentials", "grpc.credentials: stale")
def stale_token(site: Site) -> Iterator[Asked]:
    certificates = Certificates(site.folder)
    with TokenService("stale-s3cret") as service:
        guarded = Nginx(
            site.folder / "nginx",
            certificates,
            site.server.target,
            site.server.base_url,
            tokens=("good",),
            token_service=service.base_url,
        )
        with guarded as nginx:
            yield Asked(
                ("--target", nginx.target, "--base-url", nginx.base_url, "--tls-ca", str(certificates.ca)),
                KEY,
                too=frozenset({"rest.credentials"}),
            )
        assert service.requests, "the token was asked for"


@fault("grpc.token")
def refused_key(_site: Site) -> Iterator[Asked]:
    with TokenService("no such key") as service:
        service.status = 401
        yield Asked(("--base-url", service.base_url), KEY, too=frozenset({"rest.token"}))
        assert service.requests


@fault("rest.refused")
def nobody_at_rest(_site: Site) -> Iterator[Asked]:
    (port,) = free_ports(1)
    assert not _answers(port)
    yield Asked(("--base-url", f"http://localhost:{port}/api"))


@fault("rest.grpc-port")
def grpc_port_for_rest(site: Site) -> Iterator[Asked]:
    yield Asked(("--base-url", f"http://{site.server.target}/api"))


@fault("rest.address")
def no_api_there(site: Site) -> Iterator[Asked]:
    yield Asked(("--base-url", f"{site.server.base_url}/no/such/place"))


@fault("rest.address", "rest.address: a page")
def page_in_place_of_the_api(site: Site) -> Iterator[Asked]:
    base_url = site.server.base_url.removesuffix("/api") + "/ui"
    with urlopen(f"{base_url}/version") as answer:
        assert answer.status == 200
    yield Asked(("--base-url", base_url))


# -- clocks --


class _ShiftedRest(ThreadingHTTPServer):
    """The real server's REST answers, from a machine whose clock is wrong."""

    daemon_threads = True

    def __init__(self, base_url: str, ahead: float) -> None:
        super().__init__(("127.0.0.1", 0), _ShiftedAnswer)
        self.root = base_url.removesuffix("/api")
        self.ahead = timedelta(seconds=ahead)


class _ShiftedAnswer(BaseHTTPRequestHandler):
    server: _ShiftedRest

    def do_GET(self) -> None:
        with urlopen(self.server.root + self.path) as answer:
            data = answer.read()
        self.send_response_only(200)
        self.send_header("Date", format_datetime(datetime.now(timezone.utc) + self.server.ahead, usegmt=True))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def shifted_rest(site: Site, ahead: float) -> Iterator[str]:
    with _ShiftedRest(site.server.base_url, ahead) as service:
        thread = Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{service.server_port}/api"
        finally:
            service.shutdown()
            thread.join()


@fault("clock.skew", "clock.skew: behind")
def clock_behind(site: Site) -> Iterator[Asked]:
    with shifted_rest(site, -90) as base_url:
        yield Asked(("--base-url", base_url))


@fault("clock.skew", "clock.skew: ahead, without REST")
def clock_ahead(site: Site) -> Iterator[Asked]:
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        server.clock.advance(3600)
        define(configuration, site)
        with WorkflowClient(configuration) as workflows, TaskClient(configuration) as tasks:
            workflows.start(site.workflow, {})
            (task,) = tasks.batch_poll(site.task_type, 1).tasks
            tasks.update(TaskResult(task.workflow_instance_id, task.task_id, status=TaskResultStatus.COMPLETED))
            assert tasks.get(task.task_id).update_time / 1000 > time.time() + 3000
        yield Asked(("--target", server.target, "--base-url", ""))


def define(configuration: Configuration, site: Site, **fields: object) -> None:
    """The healthy definitions of a site on another server."""
    task = {
        "name": site.task_type,
        "responseTimeoutSeconds": 500,
        "timeoutSeconds": 600,
        "ownerEmail": "a@example.com",
        **fields,
    }
    workflow = {
        "name": site.workflow,
        "ownerEmail": "a@example.com",
        "tasks": [{"name": site.task_type, "taskReferenceName": "only"}],
    }
    with MetadataClient(configuration) as metadata:
        metadata.register_task(task)
        metadata.register_workflow(workflow)


# -- definitions --


@fault("definition.missing")
def no_definition(site: Site) -> Iterator[Asked]:
    site.user.call("DELETE", f"/metadata/taskdefs/{site.task_type}")
    yield Asked()


@fault("definition.missing", "definition.missing: without REST")
def no_definition_seen_over_grpc(site: Site) -> Iterator[Asked]:
    site.user.call("DELETE", f"/metadata/taskdefs/{site.task_type}")
    yield Asked(("--base-url", ""))


@fault("definition.registers", severity="note")
def no_definition_yet(site: Site) -> Iterator[Asked]:
    site.user.call("DELETE", f"/metadata/taskdefs/{site.task_type}")
    site.module_with(", register=True")
    yield Asked()


@fault("definition.differs")
def declared_otherwise(site: Site) -> Iterator[Asked]:
    assert site.redefine(retryCount=5)["retryCount"] == 5
    site.module_with(
        ", definition=TaskDefinition(retry_count=2, response_timeout_seconds=500, timeout_seconds=600,"
        " owner_email='owner@example.com')",
        "from conductor_grpc import TaskDefinition",
    )
    yield Asked()


@fault("definition.conflict")
def declared_twice(site: Site) -> Iterator[Asked]:
    more = "from conductor_grpc import TaskDefinition\n@worker_task({!r}, definition=TaskDefinition())\ndef a(): ..."
    site.module_with(", definition=TaskDefinition(retry_count=2)", more.format(site.task_type))
    yield Asked()


@fault("definition.other-server")
def two_servers(site: Site) -> Iterator[Asked]:
    with EmbeddedServer(strict=True) as server:
        define(Configuration("", target=server.target), site)
        site.user.call("DELETE", f"/metadata/taskdefs/{site.task_type}")
        yield Asked(("--target", server.target))


@fault("definition.response-timeout")
def an_hour(site: Site) -> Iterator[Asked]:
    assert site.redefine(timeoutSeconds=0, responseTimeoutSeconds=3600)["responseTimeoutSeconds"] == 3600
    yield Asked()


@fault("definition.timeouts")
def retry_without_retries(site: Site) -> Iterator[Asked]:
    stored = site.redefine(timeoutPolicy="RETRY", retryCount=0)
    assert (stored["timeoutPolicy"], stored["retryCount"]) == ("RETRY", 0)
    yield Asked()


@fault("limit.concurrency")
def fewer_than_slots(site: Site) -> Iterator[Asked]:
    assert site.redefine(concurrentExecLimit=2)["concurrentExecLimit"] == 2
    yield Asked(("--concurrency", f"{site.task_type}=5"))


@fault("limit.rate")
def held_back(site: Site) -> Iterator[Asked]:
    """On a server that keeps it: the real one does on Redis, not on SQL."""
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        define(configuration, site, rateLimitPerFrequency=1, rateLimitFrequencyInSeconds=600)
        with WorkflowClient(configuration) as workflows, TaskClient(configuration) as tasks:
            for _ in range(4):
                workflows.start(site.workflow, {})
            assert len(tasks.batch_poll(site.task_type, 4, wait_ms=1).tasks) == 1, "the others are held back"
            assert tasks.queue_sizes([site.task_type]) == {site.task_type: 3}
        yield Asked(("--target", server.target, "--base-url", ""))


# -- queues and tasks --


@fault("queue.nobody")
def nobody_polls(site: Site) -> Iterator[Asked]:
    site.user.start(site.workflow)
    assert site.waiting() == 1
    yield Asked()


@fault("queue.backlog")
def long_queue(site: Site) -> Iterator[Asked]:
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        define(configuration, site)
        with WorkflowClient(configuration) as workflows:
            for _ in range(1001):
                workflows.start(site.workflow, {})
        yield Asked(("--target", server.target, "--base-url", ""))


@fault("queue.domain")
def domain_without_anybody(site: Site) -> Iterator[Asked]:
    run = {"name": site.workflow, "input": {}, "taskToDomain": {site.task_type: "nowhere"}}
    site.user.call("POST", "/workflow", run)
    with TaskClient(site.configuration) as client:
        assert client.queue_info()[f"nowhere:{site.task_type}"] == 1
    yield Asked()


@fault("queue.domain", "queue.domain: the worker's is another")
def domain_that_the_worker_polls_alone(site: Site) -> Iterator[Asked]:
    site.user.start(site.workflow)
    assert site.waiting() == 1
    yield Asked(("--domain", "elsewhere"))


@fault("integers.no-rest")
def integers_that_were_lost(site: Site) -> Iterator[Asked]:
    site.user.start(site.workflow, {"x": 7})
    with pytest.raises(UnmappablePayloadError):
        site.poll()
    yield Asked(("--base-url", ""))


@fault("integers.rest", severity="note")
def integers_that_wait(site: Site) -> Iterator[Asked]:
    site.poll()
    site.user.start(site.workflow, {"x": {"deep": [7]}})
    yield Asked()


@fault("worker-id.taken")
def shared_worker_id(site: Site) -> Iterator[Asked]:
    site.poll("mine/1234")
    (seen,) = site.user.call("GET", f"/tasks/queue/polldata?taskType={site.task_type}")
    assert seen["workerId"] == "mine/1234"
    yield Asked(("--worker-id", "mine"))


# -- this machine --


@fault("journal.folder")
def journal_below_a_file(site: Site) -> Iterator[Asked]:
    (site.folder / "file").touch()
    yield Asked(("--journal", str(site.folder / "file" / "journal")))


@fault("journal.in-use")
def journal_of_another(site: Site) -> Iterator[Asked]:
    folder = site.folder / "journal"
    folder.mkdir()
    with contextlib.closing(FolderLock(folder)):
        yield Asked(("--journal", str(folder)))


@fault("journal.damaged")
def journal_with_a_bad_sector(site: Site) -> Iterator[Asked]:
    folder = site.folder / "journal"
    folder.mkdir()
    record = encode(Kind.INTEGERS, b'["some_type",1]')
    (folder / "journal-000000001").write_bytes(FILE_HEADER + record + b"\xff" * 40 + record)
    yield Asked(("--journal", str(folder)))


@fault("metrics.folder")
def metrics_below_a_file(site: Site) -> Iterator[Asked]:
    (site.folder / "file").touch()
    yield Asked(("--metrics-dir", str(site.folder / "file" / "metrics")))


@fault("metrics.port")
def metrics_port_in_use(_site: Site) -> Iterator[Asked]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Asked(("--metrics-port", str(listener.getsockname()[1])))


@fault("machine.codec")
def slow_codec(_site: Site) -> Iterator[Asked]:
    yield Asked(environment={"CONDUCTOR_GRPC_PURE": "1"})


@fault("machine.files")
def few_files(site: Site) -> Iterator[Asked]:
    site.module_with(", concurrency=200")
    yield Asked(open_files=256)


@fault("machine.fork")
def forking(site: Site) -> Iterator[Asked]:
    site.module_with("", 'import multiprocessing\nmultiprocessing.set_start_method("fork")')
    yield Asked()


@fault("workers.module")
def broken_module(site: Site) -> Iterator[Asked]:
    site.module.write_text("import conductor_grpc\nconductor_grpc.no_such_thing\n")
    yield Asked()
