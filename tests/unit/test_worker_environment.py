"""Options of workers by environment variables: what they change, where, and what is said of those that set nothing."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import handler_workers
import process_workers
import pytest
from click.testing import CliRunner
from executor_bench import Bench
from handler_stage import Stage, processes, staged
from scripted_server import ScriptedServer, a_task
from waiting import end_of, wait_for

from conductor_grpc import (
    Configuration,
    DrainReport,
    Task,
    TaskHandler,
    TaskPoller,
    TaskResult,
    TaskResultStatus,
    WorkerInterface,
    worker_task,
)
from conductor_grpc.cli.root import root
from conductor_grpc.errors import ConfigurationError
from conductor_grpc.registration import declared_by
from conductor_grpc.worker.environment import DeployedWorker, apply_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETS_NOTHING = "sets nothing"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().startswith(("conductor_worker", "conductor.worker")):
            monkeypatch.delenv(name)


class Counting(WorkerInterface):
    """Has state of its own."""

    def __init__(self, task_definition_name: str = "count", **options: Any) -> None:
        super().__init__(task_definition_name, **options)
        self.calls = 0

    def execute(self, task: Task) -> TaskResult:
        self.calls += 1
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result


@worker_task("resize-image", concurrency=2, domain="code", lease=False, cancellation_grace=3.0, register=True)
def resize(path: str) -> str:
    return path


@worker_task("notify")
async def notify() -> None:
    """Is async."""


def applied(worker: WorkerInterface, **environment: str) -> DeployedWorker:
    (result,) = apply_environment([worker], environment)
    return result


# -- which variable sets what --


@pytest.mark.parametrize(
    ("option", "name", "value", "expected"),
    [
        ("concurrency", "CONCURRENCY", "8", 8),
        ("concurrency", "THREAD_COUNT", " 8\n", 8),
        ("domain", "DOMAIN", "blue", "blue"),
        ("lease", "LEASE", "on", True),
        ("lease", "LEASE_EXTEND_ENABLED", "True", True),
        ("cancellation_grace", "CANCELLATION_GRACE", "0.5", 0.5),
        ("register", "REGISTER", "false", False),
        ("register", "REGISTER_TASK_DEF", "0", False),
        ("paused", "PAUSED", "yes", True),
    ],
)
@pytest.mark.parametrize("scope", ["RESIZE_IMAGE", "ALL"])
def test_each_option_and_its_other_name(option: str, name: str, value: str, expected: object, scope: str) -> None:
    worker = applied(resize, **{f"CONDUCTOR_WORKER_{scope}_{name}": value})
    assert getattr(worker, option) == expected
    unchanged: dict[str, object] = {
        "concurrency": 2,
        "domain": "code",
        "lease": False,
        "cancellation_grace": 3.0,
        "register": True,
    }
    unchanged.pop(option, None)
    assert {each: getattr(worker, each) for each in unchanged} == unchanged


def test_the_type_wins_over_all_and_our_name_over_the_other() -> None:
    assert applied(resize, CONDUCTOR_WORKER_ALL_CONCURRENCY="3").concurrency == 3
    both = {"CONDUCTOR_WORKER_ALL_CONCURRENCY": "3", "CONDUCTOR_WORKER_RESIZE_IMAGE_THREAD_COUNT": "4"}
    assert applied(resize, **both).concurrency == 4
    assert applied(notify, **both).concurrency == 3
    assert applied(resize, **both, CONDUCTOR_WORKER_RESIZE_IMAGE_CONCURRENCY="5").concurrency == 5


@pytest.mark.parametrize(
    "name",
    [
        "conductor.worker.resize-image.thread_count",
        "conductor_worker_resize-image_thread_count",
        "CONDUCTOR_WORKER_resize-image_THREAD_COUNT",
        "conductor.worker.all.thread_count",
    ],
)
def test_spellings_of_conductor_python(name: str) -> None:
    assert applied(resize, **{name: "7"}).concurrency == 7


def test_an_empty_variable_is_unset(caplog: pytest.LogCaptureFixture) -> None:
    worker = applied(resize, CONDUCTOR_WORKER_RESIZE_IMAGE_CONCURRENCY="", CONDUCTOR_WORKER_SLIP="")
    assert (worker.concurrency, caplog.messages) == (2, [])


# -- what is wrong --


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONCURRENCY", "0", "a whole number of at least 1"),
        ("CONCURRENCY", "many", "a whole number of at least 1"),
        ("CONCURRENCY", "2.5", "a whole number of at least 1"),
        ("DOMAIN", "  ", "the name of a task domain"),
        ("LEASE", "maybe", "true or false"),
        ("CANCELLATION_GRACE", "-1", "a number of seconds of at least 0"),
        ("CANCELLATION_GRACE", "nan", "a number of seconds of at least 0"),
        ("CANCELLATION_GRACE", "inf", "a number of seconds of at least 0"),
        ("REGISTER", "2", "true or false"),
        ("PAUSED", "tru", "true or false"),
    ],
)
def test_a_wrong_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    # Even where it does not count, since the type has one of its own.
    monkeypatch.setenv(f"CONDUCTOR_WORKER_ALL_{name}", value)
    good = {"CONCURRENCY": "1", "DOMAIN": "d", "CANCELLATION_GRACE": "1"}.get(name, "true")
    monkeypatch.setenv(f"CONDUCTOR_WORKER_RESIZE_IMAGE_{name}", good)
    for make in (TaskPoller, TaskHandler):
        with pytest.raises(ConfigurationError) as raised:
            make([resize])
        assert str(raised.value) == f"CONDUCTOR_WORKER_ALL_{name} is {value!r}, expected {expected}"


def test_two_types_of_one_name_are_an_error_only_where_it_is_used() -> None:
    workers = [Counting("a-b"), Counting("a.b"), Counting("c")]
    assert [each.concurrency for each in apply_environment(workers, {"CONDUCTOR_WORKER_C_CONCURRENCY": "2"})] == [
        1,
        1,
        2,
    ]
    with pytest.raises(
        ConfigurationError, match=r"CONDUCTOR_WORKER_A_B_PAUSED .*task type 'a-b' or the task type 'a\.b'"
    ):
        apply_environment(workers, {"CONDUCTOR_WORKER_A_B_PAUSED": "true"})


def test_a_type_whose_name_is_all() -> None:
    with pytest.raises(ConfigurationError, match="for all workers or the task type 'all'"):
        applied(Counting("all"), CONDUCTOR_WORKER_ALL_LEASE="true")


def test_two_spellings_that_differ() -> None:
    same = {"conductor.worker.all.domain": "blue", "CONDUCTOR_WORKER_ALL_DOMAIN": "blue"}
    assert applied(resize, **same).domain == "blue"
    with pytest.raises(ConfigurationError, match=r"is 'red' and conductor\.worker\.all\.domain is 'blue'"):
        applied(resize, **{**same, "CONDUCTOR_WORKER_ALL_DOMAIN": "red"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CONDUCTOR_WORKER_RESIZE_IMAGE_CONCURENCY", "Is it CONDUCTOR_WORKER_RESIZE_IMAGE_CONCURRENCY that is meant?"),
        ("CONDUCTOR_WORKER_RESIZE_CONCURRENCY", "Is it CONDUCTOR_WORKER_RESIZE_IMAGE_CONCURRENCY that is meant?"),
        ("conductor.worker.all.poll_interval", "Expected CONDUCTOR_WORKER_<TASK TYPE>_ or CONDUCTOR_WORKER_ALL_, and"),
        ("CONDUCTOR_WORKER_XYZ", "one of CONCURRENCY, DOMAIN, LEASE, CANCELLATION_GRACE, REGISTER, PAUSED"),
        ("CONDUCTOR_WORKER_PAUSED", "Is it CONDUCTOR_WORKER_ALL_PAUSED that is meant?"),
    ],
)
def test_a_variable_that_sets_nothing_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "secret")
    TaskPoller([resize, notify])
    (message,) = caplog.messages
    assert message.startswith(f"{name} {SETS_NOTHING}")
    assert said in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "name",
    [
        "CONDUCTOR_SERVER_URL",
        "CONDUCTOR_WORKERS_RESIZE_IMAGE_DOMAIN",
        "MY_CONDUCTOR_WORKER_RESIZE_IMAGE_DOMAIN",
        "CONDUCTOR_WORKER_ISOLATION",
        # What Kubernetes sets in every pod for a service "conductor-worker" or "conductor-worker-resize":
        "CONDUCTOR_WORKER_PORT",
        "CONDUCTOR_WORKER_SERVICE_HOST",
        "CONDUCTOR_WORKER_RESIZE_SERVICE_PORT_HTTP",
        "CONDUCTOR_WORKER_RESIZE_PORT_8080_TCP_ADDR",
    ],
)
def test_variables_of_others_are_left_alone(caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.INFO)
    assert applied(resize, **{name: "elsewhere"}).domain == "code"
    assert caplog.messages == []


def test_a_type_named_as_what_kubernetes_sets() -> None:
    assert applied(Counting("service.port"), CONDUCTOR_WORKER_SERVICE_PORT_DOMAIN="blue").domain == "blue"


def test_what_is_set_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    applied(resize, **{"conductor.worker.all.domain": "blue", "CONDUCTOR_WORKER_ALL_PAUSED": "1"})
    said = "worker 'resize-image' has domain 'blue' by conductor.worker.all.domain, paused True by"
    assert caplog.messages == [f"{said} CONDUCTOR_WORKER_ALL_PAUSED"]


# -- the worker itself --


def test_what_stands_in_runs_the_worker_itself_which_stays_as_it_was() -> None:
    worker = Counting()
    changed = applied(worker, CONDUCTOR_WORKER_ALL_CONCURRENCY="5")
    result = changed.execute(Task(task_id="1", workflow_instance_id="w"))
    assert result.status is TaskResultStatus.COMPLETED
    assert (worker.calls, worker.concurrency, changed.concurrency) == (1, 1, 5)
    assert repr(changed) == repr(worker)


def test_it_crosses_to_another_process() -> None:
    changed = applied(resize, CONDUCTOR_WORKER_ALL_CONCURRENCY="5", CONDUCTOR_WORKER_ALL_PAUSED="true")
    there = pickle.loads(pickle.dumps(changed))
    assert there.worker is resize
    assert (there.concurrency, there.paused, there.domain, there.register) == (5, True, "code", True)


def test_registration_knows_the_function_behind_it() -> None:
    (declared,) = declared_by([applied(resize, CONDUCTOR_WORKER_ALL_REGISTER="false")])
    (itself,) = declared_by([resize])
    assert (itself.register, declared.register) == (True, False)
    assert (declared.input_keys, declared.module) == (itself.input_keys, itself.module) == (("path",), __name__)


# -- where they are read --


def poller_for(server: ScriptedServer, *workers: WorkerInterface) -> TaskPoller:
    return TaskPoller(workers, Configuration("", target=server.target, poll_wait_ms=100, domain="general"))


@pytest.mark.feature("conductor-python: worker settings by environment")
def test_a_poller_runs_its_workers_with_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_WORKER_COUNT_CONCURRENCY", "6")
    monkeypatch.setenv("CONDUCTOR_WORKER_ALL_DOMAIN", "blue")
    worker = Counting()
    with ScriptedServer() as server, poller_for(server, worker, Counting("other", lease=False)) as poller:
        server.add(*(a_task(str(number)) for number in range(20)))
        server.wait_for_updates(20)
        wait_for(lambda: poller.health().workers[0].running == 0)
        assert {poll.domain for poll in server.polls} == {"blue"}
        shown = [(each.concurrency, each.slots, each.domain) for each in poller.health().workers]
        assert shown == [(6, 6, "blue"), (1, 1, "blue")]
    monkeypatch.delenv("CONDUCTOR_WORKER_COUNT_CONCURRENCY")
    again = TaskPoller([worker])
    assert (again._workers[0].concurrency, again._workers[0].domain) == (1, "blue")
    assert (worker.concurrency, worker.domain) == (1, None)


def test_a_type_that_starts_paused_and_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_WORKER_ALL_PAUSED", "true")
    monkeypatch.setenv("CONDUCTOR_WORKER_OTHER_PAUSED", "false")
    with ScriptedServer() as server, poller_for(server, Counting(), Counting("other")) as poller:
        assert [each.paused for each in poller.health().workers] == [True, False]
        server.wait_for_polls(3)
        assert {poll.task_type for poll in server.polls} == {"other"}
        poller.resume("count")
        wait_for(lambda: any(poll.task_type == "count" for poll in server.polls))
        assert not any(each.paused for each in poller.health().workers)


def test_slots_that_are_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """How many there are, and their grace: it is an hour in the code."""
    monkeypatch.setenv("CONDUCTOR_WORKER_DEAF_CANCELLATION_GRACE", "0.2")
    monkeypatch.setenv("CONDUCTOR_WORKER_DEAF_CONCURRENCY", "2")
    monkeypatch.setattr(process_workers.deaf, "cancellation_grace", 3600.0)
    with Bench(process_workers.deaf) as bench:
        (lane,) = bench.poller._parts.lanes
        bench.start(process_workers.deaf, str(tmp_path))
        wait_for(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text() != "", 60)
        assert lane.slots.capacity == 2
        with end_of(int((tmp_path / "begun").read_text())) as ended:
            lane.slots.long_running(0)[0].cancelled.set("no longer wanted")
            assert ended.poll(20_000)
        assert lane.slots.wait_idle(10)


def test_async_workers_stay_async(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_WORKER_NOTIFY_CONCURRENCY", "100")
    with Bench(notify) as bench:
        assert bench.output(notify) is None
        (lane,) = bench.poller._parts.lanes
        assert (type(lane.slots).__name__, lane.slots.capacity) == ("AsyncSlots", 100)


@pytest.mark.parametrize(("value", "extend"), [("true", True), ("false", False)])
def test_whether_leases_are_extended(monkeypatch: pytest.MonkeyPatch, value: str, *, extend: bool) -> None:
    monkeypatch.setenv("CONDUCTOR_WORKER_ALL_LEASE", value)
    asked: list[bool] = []
    with ScriptedServer() as server:
        poller = poller_for(server, Counting(lease=not extend))
        running = poller._parts.leases.running
        monkeypatch.setattr(
            poller._parts.leases, "running", lambda *a, **k: asked.append(k["extend"]) or running(*a, **k)
        )
        with poller:
            server.add(a_task("1"))
            server.wait_for_updates(1)
    assert asked == [extend]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


def test_a_handler_tells_its_processes(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONDUCTOR_WORKER_PID_CONCURRENCY", "3")
    monkeypatch.setenv("CONDUCTOR_WORKER_CRASH_PAUSED", "true")
    monkeypatch.setenv("CONDUCTOR_WORKER_CRASH_CONCURENCY", "3")
    for each in ("pid", "crash"):
        stage.register(each)
    with stage.handler([handler_workers.pid, handler_workers.crash]) as handler:
        monkeypatch.setenv("CONDUCTOR_WORKER_ALL_DOMAIN", "too late")
        handler.start_processes()
        stage.wait_until_completed(stage.start("pid"))
        wait_for(lambda: all(each.poller for each in processes(handler)))
        (pid,), (crash,) = (each.poller.workers for each in processes(handler) if each.poller)
        assert (pid.concurrency, pid.paused, pid.domain) == (3, False, None)
        assert (crash.concurrency, crash.paused) == (1, True)
    (said,) = [each for each in caplog.messages if SETS_NOTHING in each]
    assert said.startswith("CONDUCTOR_WORKER_CRASH_CONCURENCY ")
    assert SETS_NOTHING not in capfd.readouterr().err, "a process has one worker, and all the variables"


# -- the command line --

MODULE = """
from conductor_grpc import worker_task

@worker_task("environment_a")
def a(): ...

@worker_task("environment_b", domain="code")
def b(): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / f"{tmp_path.name}_workers.py"  # a name of its own, since Python keeps what it has imported
    file.write_text(MODULE)
    return file


def test_options_of_the_command_win(
    module: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pollers: list[TaskPoller] = []
    monkeypatch.setattr(TaskPoller, "run", lambda self: pollers.append(self) or DrainReport())
    monkeypatch.setenv("CONDUCTOR_WORKER_ALL_CONCURRENCY", "4")
    monkeypatch.setenv("CONDUCTOR_WORKER_ENVIRONMENT_A_CONCURRENCY", "5")
    monkeypatch.setenv("conductor.worker.all.domain", "blue")
    monkeypatch.setenv("CONDUCTOR_WORKER_ENVIRONMENT_A_SLIP", "1")

    def run(*options: str) -> list[tuple[int, str | None]]:
        done = CliRunner().invoke(root, ["run", str(module), "--no-journal", "--base-url", "", *options])
        assert done.exit_code == 0, done.output
        (poller,) = pollers
        pollers.clear()
        shown = [(each.concurrency, each.domain) for each in poller._workers]
        assert f"environment_a (x{shown[0][0]}), environment_b (x{shown[1][0]})" in done.stderr
        return shown

    assert run() == [(5, "blue"), (4, "blue")]
    assert len([each for each in caplog.messages if SETS_NOTHING in each]) == 1
    assert run("--concurrency", "7") == [(7, "blue"), (7, "blue")]
    assert run("--concurrency", "environment_b=1") == [(5, "blue"), (1, "blue")]
    assert run("--domain", "green") == [(5, None), (4, "code")], "those that name none get it"


def test_doctor_looks_at_workers_as_they_will_run(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    examine = sys.modules["conductor_grpc.cli.doctor"].examine
    monkeypatch.setattr(
        "conductor_grpc.cli.doctor.examine", lambda c, w, *a, **k: seen.append(w) or examine(c, w, *a, **k)
    )
    asked = ["doctor", str(module), "--no-journal", "--target", "localhost:1", "--base-url", ""]
    monkeypatch.setenv("CONDUCTOR_WORKER_ENVIRONMENT_A_CONCURRENCY", "5")
    CliRunner().invoke(root, asked)
    assert [each.concurrency for each in seen.pop()] == [5, 1]
    monkeypatch.setenv("CONDUCTOR_WORKER_ENVIRONMENT_A_CONCURRENCY", "five")
    done = CliRunner().invoke(root, asked)
    assert done.exit_code == 1
    assert "error\tworkers.environment\tCONDUCTOR_WORKER_ENVIRONMENT_A_CONCURRENCY is 'five'" in done.stdout
    assert [each.concurrency for each in seen.pop()] == [1, 1]
