"""Checks of the doctor on what no server at hand can be brought to, and the lines between well and ill."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import re
from concurrent import futures
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from rich.console import Console

import conductor_grpc
from conductor_grpc import Configuration, FilesystemPayloadStorage, TaskDefinition, worker_task
from conductor_grpc.cli import doctor_report
from conductor_grpc.cli.doctor_report import print_report
from conductor_grpc.cli.root import root
from conductor_grpc.clients.search import SearchResult
from conductor_grpc.doctor import (
    Finding,
    Severity,
    clock,
    connection,
    definitions,
    files,
    journal,
    limits,
    queues,
    rest,
    server,
)
from conductor_grpc.doctor.probes import Listener, proxy_of
from conductor_grpc.doctor.setup import Setup
from conductor_grpc.payload import Layout
from conductor_grpc.pb.services import (
    event_service_pb2,
    metadata_service_pb2,
    task_service_pb2,
    workflow_service_pb2,
)
from conductor_grpc.poller.journal.folder import FolderLock
from conductor_grpc.poller.journal.records import FILE_HEADER, Kind, encode
from conductor_grpc.server import EmbeddedServer, free_ports
from conductor_grpc.transport import addresses
from conductor_grpc.transport.reflection import REFLECTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.payload.external import PayloadKind
    from conductor_grpc.poller.journal.state import State
    from conductor_grpc.worker import WorkerInterface

TYPE = "doctored"


def setup(target: str = "127.0.0.1:1", workers: tuple[WorkerInterface, ...] = (), **settings: Any) -> Setup:
    return Setup(Configuration("", target=target, **{"journal": "", **settings}), workers, seconds=10.0)


def worker(concurrency: int = 1, lease: bool = True) -> WorkerInterface:
    @worker_task(TYPE, concurrency=concurrency, lease=lease)
    def work() -> None: ...

    return work


def codes(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(each.severity.name.lower(), each.code) for each in findings]


# -- the way to the server --


@pytest.mark.parametrize(
    ("listener", "over_grpc", "over_rest"),
    [
        (Listener.UNKNOWN_NAME, "grpc.name", "rest.name"),
        (Listener.NOBODY, "grpc.refused", "rest.refused"),
        (Listener.SILENCE, "grpc.silence", "rest.unavailable"),
        (Listener.HTTP_1, "grpc.rest-port", "rest.unavailable"),
        (Listener.TLS, "grpc.tls-wanted", "rest.unavailable"),
        (Listener.SOMEBODY, "grpc.unavailable", "rest.grpc-port"),
    ],
)
def test_who_listens_tells_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, over_grpc: str, over_rest: str
) -> None:
    monkeypatch.setattr(connection, "who_listens", lambda *_: listener)
    monkeypatch.setattr(rest, "who_listens", lambda *_: listener)
    with contextlib.closing(setup()) as subject:
        assert codes(connection.check(subject)) == [("error", over_grpc)]
    configuration = Configuration("http://127.0.0.1:1/api", target="127.0.0.1:1")
    with contextlib.closing(Setup(configuration, seconds=10.0)) as subject:
        assert codes(rest.check(subject)) == [("error", over_rest)]


def test_nobody_at_an_address_that_was_guessed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(addresses, "DEFAULT_REST_PORT", port)
    with contextlib.closing(Setup(Configuration(target="127.0.0.1:1"), seconds=10.0)) as subject:
        (finding,) = rest.check(subject)
    assert (finding.severity.name.lower(), finding.code) == ("note", "rest.none")
    assert finding.found.startswith(f"nobody listens at http://127.0.0.1:{port}/api, where a server on this machine")


# -- version and contract --


@contextlib.contextmanager
def old_server(leave_out: str) -> Iterator[str]:
    """One that tells, by reflection, of all that we know but one field of TaskResult."""
    seen: dict[str, FileDescriptorProto] = {}
    unseen = [
        each.DESCRIPTOR for each in (event_service_pb2, metadata_service_pb2, task_service_pb2, workflow_service_pb2)
    ]
    while unseen:
        file = unseen.pop()
        if file.name not in seen:
            seen[file.name] = FileDescriptorProto.FromString(file.serialized_pb)
            unseen += file.dependencies
    (result,) = [message for each in seen.values() for message in each.message_type if message.name == "TaskResult"]
    (field,) = [each for each in result.field if each.name == leave_out] or [None]
    if field is not None:
        result.field.remove(field)
    data = [each.SerializeToString() for each in seen.values()]
    answer = Layout([(4, "bytes")]).encode((Layout([(1, "messages")]).encode((data,)),))
    handler = grpc.stream_stream_rpc_method_handler(lambda _requests, _context: iter([answer]))
    _, service, method = REFLECTION.split("/")
    running = grpc.server(futures.ThreadPoolExecutor(2))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(0).wait()


def test_a_server_without_lease_extension_is_old() -> None:
    with old_server("extend_lease") as target, contextlib.closing(setup(target)) as subject:
        assert codes(server.check_version(subject)) == [("warning", "version.old")]
        (missing,) = server.check_contract(subject)
    assert (missing.code, missing.found) == ("contract.missing", "the server lacks TaskResult.extend_lease")


def test_a_server_that_knows_all_is_well() -> None:
    with old_server("nothing") as target, contextlib.closing(setup(target)) as subject:
        assert codes(server.check_version(subject)) == [("ok", "version")]
        assert codes(server.check_contract(subject)) == [("ok", "contract")]


def test_a_server_without_reflection_is_noted() -> None:
    running = grpc.server(futures.ThreadPoolExecutor(1))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        with contextlib.closing(setup(f"127.0.0.1:{port}")) as subject:
            assert codes(server.check_version(subject)) == [("note", "version.unknown")]
            assert codes(server.check_contract(subject)) == [("note", "contract.untold")]
            assert codes(connection.check(subject)) == [("error", "grpc.other-server")]
    finally:
        running.stop(0).wait()


@pytest.mark.parametrize(("version", "expected"), [("3.32.7", "ok"), ("3.33.0", "note"), ("4.0.0-rc.1", "note")])
def test_a_release_that_is_not_tested_is_noted(version: str, expected: str) -> None:
    with EmbeddedServer(strict=True) as embedded, contextlib.closing(setup(embedded.target)) as subject:
        pretend_rest(subject, SimpleNamespace(version=lambda: version, close=lambda: None))
        assert [severity for severity, _ in codes(server.check_version(subject))] == [expected]


def pretend_rest(subject: Setup, rest: object) -> None:
    vars(subject)["_rest"] = rest
    subject.rest_answers = True


# -- clock --


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(0, "ok"), (3, "ok"), (-3, "ok"), (12, "warning"), (-12, "warning"), (45, "error"), (-45, "error")],
)
def test_how_far_clocks_may_differ(ahead: float, expected: str) -> None:
    def server_time() -> datetime:
        return (datetime.now(timezone.utc) + timedelta(seconds=ahead)).replace(microsecond=0)

    subject = setup()
    pretend_rest(subject, SimpleNamespace(server_time=server_time))
    (finding,) = clock.check(subject)
    assert finding.severity.name.lower() == expected
    if expected != "ok":
        assert ("ahead of" if ahead > 0 else "behind") in finding.found
    assert subject.clock_ahead == pytest.approx(ahead, abs=1.5)


# -- definitions --


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"responseTimeoutSeconds": 3599}, [("ok", "definition")]),
        ({"responseTimeoutSeconds": 3600}, [("warning", "definition.response-timeout")]),
        ({"responseTimeoutSeconds": 0}, [("warning", "definition.response-timeout")]),
        ({"responseTimeoutSeconds": 60, "timeoutSeconds": 60}, [("ok", "definition")]),
        ({"responseTimeoutSeconds": 61, "timeoutSeconds": 60}, [("warning", "definition.timeouts")]),
        (
            {"responseTimeoutSeconds": 60, "timeoutPolicy": "RETRY", "retryCount": 0},
            [("warning", "definition.timeouts")],
        ),
        ({"responseTimeoutSeconds": 60, "timeoutPolicy": "RETRY", "retryCount": 1}, [("ok", "definition")]),
        ({"responseTimeoutSeconds": 60, "timeoutPolicy": "TIME_OUT_WF", "retryCount": 0}, [("ok", "definition")]),
    ],
)
def test_timeouts(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert codes(definitions.check(defined(fields, worker()))) == expected


def test_a_lease_that_is_off_is_noted() -> None:
    subject = defined({"responseTimeoutSeconds": 60}, worker(lease=False))
    assert codes(definitions.check(subject)) == [("ok", "definition"), ("note", "definition.lease-off")]


@pytest.mark.parametrize(("lease", "advice"), [(True, "to about 60"), (False, "to what the longest task takes")])
def test_nobody_is_told_to_shorten_what_no_lease_extends(lease: bool, advice: str) -> None:
    finding = next(iter(definitions.check(defined({"responseTimeoutSeconds": 3600}, worker(lease=lease)))))
    assert advice in finding.remedy


@pytest.mark.parametrize(
    ("said", "command"),
    [(None, "apply FILE --overwrite"), (TaskDefinition(), f"apply --from {__name__} --overwrite")],
)
def test_the_remedy_for_a_definition_replaces_it_where_it_stands(said: TaskDefinition | None, command: str) -> None:
    fields = {"responseTimeoutSeconds": 3600, "timeoutSeconds": 60, "timeoutPolicy": "RETRY", "retryCount": 0}
    limited = {"concurrentExecLimit": 2, "rateLimitPerFrequency": 5, "rateLimitFrequencyInSeconds": 60}
    subject = defined(fields | limited, worker(concurrency=3))
    subject.workers[0].definition = said
    vars(subject)["tasks"] = SimpleNamespace(queue_sizes=lambda names: dict.fromkeys(names, 6))
    findings = [
        *definitions._timeouts(TYPE, subject._definitions[TYPE] or {}, subject.apply_command(TYPE), leased=True),
        *limits.check(subject),
    ]
    assert [finding.remedy.endswith(f"conductor-grpc {command}") for finding in findings] == [True] * 5


@pytest.mark.parametrize(("limit", "slots", "expected"), [(0, 9, "ok"), (3, 3, "ok"), (2, 3, "warning")])
def test_concurrency_limit(limit: int, slots: int, expected: str) -> None:
    subject = defined({"concurrentExecLimit": limit}, worker(concurrency=slots))
    assert [severity for severity, _ in codes(limits.check(subject))] == [expected]


@pytest.mark.parametrize(("waiting", "expected"), [(0, "note"), (5, "note"), (6, "warning")])
def test_rate_limit(waiting: int, expected: str) -> None:
    subject = defined({"rateLimitPerFrequency": 5, "rateLimitFrequencyInSeconds": 60}, worker())
    vars(subject)["tasks"] = SimpleNamespace(queue_sizes=lambda names: dict.fromkeys(names, waiting))
    assert [severity for severity, _ in codes(limits.check(subject))] == [expected]


def defined(fields: dict[str, Any], *workers: WorkerInterface) -> Setup:
    subject = setup(workers=workers)
    subject._definitions[TYPE] = {"name": TYPE, **fields}
    return subject


# -- queues --


def queued(
    depths: dict[str, int], polls: dict[str | None, float] | None, *workers: WorkerInterface, running: int = 0
) -> Setup:
    """`polls`: how many seconds ago each domain was polled; None: no REST."""
    subject = setup(workers=workers)
    vars(subject)["tasks"] = SimpleNamespace(
        queue_info=lambda: depths, search=lambda *_, **__: SearchResult(running, ())
    )
    if polls is not None:
        now = datetime.now(timezone.utc).timestamp()
        answer = [
            {"queueName": TYPE, "domain": domain, "workerId": "w", "lastPollTime": int((now - seconds) * 1000)}
            for domain, seconds in polls.items()
        ]
        pretend_rest(subject, SimpleNamespace(get_json=lambda *_: answer))
    return subject


@pytest.mark.parametrize(
    ("depths", "polls", "running", "expected"),
    [
        ({}, {}, 0, [("ok", "queue")]),
        ({TYPE: 5}, {None: 3}, 0, [("ok", "queue")]),
        ({TYPE: 5}, {None: 50}, 0, [("ok", "queue")]),
        ({TYPE: 5}, {None: 70}, 0, [("warning", "queue.nobody")]),
        ({TYPE: 5}, {None: 70}, 1, [("note", "queue.busy")]),
        ({TYPE: 5}, {}, 1, [("warning", "queue.nobody")]),
        ({TYPE: 5}, {"other": 1}, 0, [("warning", "queue.nobody")]),
        ({TYPE: 1000}, {None: 3}, 0, [("ok", "queue")]),
        ({TYPE: 1001}, {None: 3}, 0, [("warning", "queue.backlog")]),
        ({TYPE: 1001}, None, 0, [("warning", "queue.backlog")]),
        ({TYPE: 5}, None, 0, [("ok", "queue")]),
        ({f"far:{TYPE}": 1}, {}, 0, [("ok", "queue"), ("warning", "queue.domain")]),
        ({f"far:{TYPE}": 1}, {"far": 70}, 3, [("ok", "queue"), ("warning", "queue.domain")]),
        ({f"far:{TYPE}": 1}, {"far": 3}, 0, [("ok", "queue"), ("ok", "queue")]),
        ({f"far:{TYPE}": 0, "another": 7, "_decider": 9}, {}, 0, [("ok", "queue")]),
        ({f"far:{TYPE}": 1}, None, 0, [("ok", "queue"), ("note", "queue.unseen")]),
    ],
)
def test_queues(
    depths: dict[str, int], polls: dict[str | None, float] | None, running: int, expected: list[tuple[str, str]]
) -> None:
    assert codes(queues.check(queued(depths, polls, worker(), running=running))) == expected


def test_the_domain_of_the_workers_is_theirs_to_poll() -> None:
    subject = queued({f"ours:{TYPE}": 5}, {}, worker())
    subject.configuration = subject.configuration.with_changes(domain="ours")
    assert codes(queues.check(subject)) == [("warning", "queue.nobody")]
    subject.any_workers, subject.workers = True, ()
    subject._definitions[TYPE] = {"name": TYPE}
    assert codes(queues.check(subject)) == [("warning", "queue.domain")]


def test_a_hundred_tasks_for_each_slot_are_no_backlog() -> None:
    assert codes(queues.check(queued({TYPE: 2000}, {None: 1}, worker(concurrency=20)))) == [("ok", "queue")]
    assert codes(queues.check(queued({TYPE: 2001}, {None: 1}, worker(concurrency=20)))) == [
        ("warning", "queue.backlog")
    ]


def test_without_workers_all_queues_that_have_a_definition() -> None:
    subject = queued({TYPE: 5, "HTTP": 7, "_deciderQueue": 9, "empty": 0}, {})
    subject.any_workers = True
    subject._definitions.update({TYPE: {"name": TYPE}, "HTTP": None})
    assert codes(queues.check(subject)) == [("warning", "queue.nobody")]


# -- journal, metrics, storage --


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = setup(journal=tmp_path / "new" / "journal")
    monkeypatch.setattr(journal, "free_bytes", lambda _folder: 10 << 20)
    assert codes(journal.check(subject)) == [("warning", "journal.space"), ("ok", "journal")]
    assert not (tmp_path / "new").exists()


def test_what_an_earlier_run_has_left_is_noted_and_stays(tmp_path: Path) -> None:
    claim = encode(Kind.CLAIMS, b'[["id",1,"workflow","type","me/1"]]')
    torn = encode(Kind.CLAIMS, b'[["other",1,"workflow","type","me/1"]]')[:-3]
    file = tmp_path / "journal-000000001"
    file.write_bytes(FILE_HEADER + claim + torn)
    before = file.read_bytes()
    assert codes(journal.check(setup(journal=tmp_path))) == [("note", "journal.unfinished")]
    assert file.read_bytes() == before


def test_a_worker_that_starts_meanwhile_gets_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = encode(Kind.CLAIMS, b'[["id",1,"workflow","type","me/1"]]')
    (tmp_path / "journal-000000001").write_bytes(FILE_HEADER + claim)
    held: list[FolderLock] = []
    read = journal._read

    def starting(path: Path, state: State) -> int:
        held.append(FolderLock(tmp_path))
        return read(path, state)

    monkeypatch.setattr(journal, "_read", starting)
    try:
        assert codes(journal.check(setup(journal=tmp_path))) == [("warning", "journal.in-use")]
        assert len(held) == 1
    finally:
        for each in held:
            each.close()


def test_integers_that_the_journal_knows_of_need_rest(tmp_path: Path) -> None:
    (tmp_path / "journal-000000001").write_bytes(FILE_HEADER + encode(Kind.INTEGERS, b'["type",1]'))
    assert codes(journal.check(setup(journal=tmp_path))) == [("error", "integers.no-rest"), ("ok", "journal")]


def test_no_journal_is_noted() -> None:
    assert codes(journal.check(setup())) == [("note", "journal.none")]


def test_metrics_without_their_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "prometheus_client" else find_spec(name)
    )
    arguments = ("doctor", "--target", "127.0.0.1:1", "--base-url", "", "--metrics-dir", str(tmp_path), "--no-journal")
    done = CliRunner().invoke(root, arguments)
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if "\tmetrics" in line]
    assert line.startswith("warning\tmetrics.missing\tmetrics need prometheus_client")


class Elsewhere:
    """A storage that answers `download` by raising."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def upload(self, kind: PayloadKind, task_id: str, data: bytes) -> str:
        raise AssertionError((kind, task_id, data))

    def download(self, _path: str) -> bytes:
        raise self._failure


class S3Error(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (FileNotFoundError("none"), "ok"),
        (KeyError("none"), "ok"),
        (S3Error("NoSuchKey"), "ok"),
        (S3Error("NoSuchBucket"), "error"),
        (ConnectionRefusedError("refused"), "error"),
    ],
)
def test_a_storage_that_does_not_answer(failure: Exception, expected: str) -> None:
    subject = setup(external_payload_storage=Elsewhere(failure))
    assert [severity for severity, _ in codes(files.check_storage(subject))] == [expected]


def test_a_storage_in_a_folder(tmp_path: Path) -> None:
    assert codes(files.check_storage(setup(external_payload_storage=FilesystemPayloadStorage(tmp_path)))) == [
        ("ok", "storage")
    ]
    assert list(tmp_path.iterdir()) == []
    away = setup(external_payload_storage=FilesystemPayloadStorage(tmp_path / "not_mounted"))
    assert codes(files.check_storage(away)) == [("error", "storage.unreachable")]


# -- proxies --


@pytest.mark.parametrize(
    ("target", "environment", "expected"),
    [
        ("far.example:8090", {}, None),
        ("far.example:8090", {"http_proxy": "http://user:secret@proxy:3128"}, "http://proxy:3128"),
        ("dns:///far.example:8090", {"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ("far.example:8090", {"grpc_proxy": "http://first", "http_proxy": "http://second"}, "http://first"),
        ("far.example:8090", {"http_proxy": "http://proxy", "no_proxy": "other, .example"}, None),
        ("localhost:8090", {"http_proxy": "http://proxy"}, None),
        ("unix:/run/x", {"http_proxy": "http://proxy"}, None),
    ],
)
def test_which_proxy_grpc_takes(
    monkeypatch: pytest.MonkeyPatch, target: str, environment: dict[str, str], expected: str | None
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(target) == expected


# -- the command --


def test_people_see_severity_what_was_found_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = functools.partial(Console, file=shown, force_terminal=True, color_system=None, width=60)
    monkeypatch.setattr(doctor_report, "Console", console)
    findings = [
        Finding(Severity.ERROR, "some.thing", "nobody is there, at all, wherever one looks", "somebody", "start it"),
        Finding(Severity.OK, "other", "well"),
        Finding(Severity.NOTE, "more", "by the way"),
    ]
    print_report(findings)
    lines = [line.rstrip() for line in shown.getvalue().splitlines() if "─" not in line]
    assert lines == [
        "       Check       Found",
        "ok     other       well",
        "note   more        by the way",
        "error  some.thing  nobody is there, at all, wherever one",
        "                   looks",
        "                   expected: somebody",
        "                   remedy: start it",
    ]


def test_a_worse_finding_is_a_worse_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 1}
    for severity, exit_code in expected.items():
        finding = Finding(severity, "some.thing", "found", "expected", "remedy")
        monkeypatch.setattr("conductor_grpc.cli.doctor.examine", lambda *_, told=finding, **__: [told])
        done = CliRunner().invoke(root, ("doctor", "--no-journal"))
        assert done.exit_code == exit_code
        assert done.stdout == f"{severity.name.lower()}\tsome.thing\tfound\texpected\tremedy\n"


def test_wrong_usage_is_exit_code_2() -> None:
    assert CliRunner().invoke(root, ("doctor", "--journal", "x", "--no-journal")).exit_code == 2


def test_a_module_that_fails_is_told_of_though_its_types_have_options(tmp_path: Path) -> None:
    module = tmp_path / "failing_workers.py"
    module.write_text("1 / 0")
    asked = ("doctor", str(module), "--concurrency", "resize=5", "--no-journal", "--target", "localhost:1")
    done = CliRunner().invoke(root, (*asked, "--base-url", ""))
    assert done.exit_code == 1
    assert "error\tworkers.module\t" in done.stdout
    assert CliRunner().invoke(root, (*asked, "--concurrency", "many")).exit_code == 2


DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_the_documentation_lists_every_finding() -> None:
    folder = Path(cast("str", conductor_grpc.__file__)).parent
    sources = [*folder.glob("doctor/*.py"), folder / "cli" / "doctor.py"]
    said = {
        code
        for path in sources
        for code in re.findall(
            r'(?:error|warning|note|kind|Finding)\(\s*(?:Severity\.\w+,\s*)?"([a-z-]+(?:\.[a-z-]+)?)"', path.read_text()
        )
    }
    assert len(said) > 40
    listed = set(re.findall(r"^\| `([a-z.-]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE))
    assert listed == said
