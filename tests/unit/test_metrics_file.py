"""The metrics file: whole at any moment, of all processes, and no burden when the disk fails."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from metrics_text import Metrics
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, MetricsSettings, Task, TaskPoller, worker_task
from conductor_grpc.observe.process_folder import ENDED, ProcessFolder
from conductor_grpc.observe.values import Values, fold, gather
from conductor_grpc.poller.measures import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESS = Path(__file__).parents[1] / "metrics_process.py"


@worker_task("work")
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


def poller_for(server: ScriptedServer, folder: Path, interval: float = 0.02) -> TaskPoller:
    settings = MetricsSettings(directory=folder, file_name="metrics.log", update_interval=interval)
    return TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50), metrics_settings=settings)


def started(path: Path) -> float:
    """How many tasks have begun by what the file says."""
    return Metrics(path.read_text()).total("task_execution_started_total") if path.exists() else 0.0


@pytest.mark.feature("conductor-python: metrics settings")
def test_the_file_appears_grows_and_is_always_whole(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "metrics.log"
    polls, end = [], threading.Event()

    def read_on() -> None:
        while not end.is_set():
            if path.exists():
                polls.append(Metrics(path.read_text()).total("task_poll_total"))  # raises for half a file

    reader = threading.Thread(target=read_on)
    with poller_for(server, path.parent):
        reader.start()
        wait_for(lambda: len(set(polls)) >= 5)
        end.set()
        reader.join()
        server.add(a_task("a"))
        wait_for(lambda: started(path) == 1)
    assert polls == sorted(polls), "a counter fell"
    assert Metrics(path.read_text()).total("task_execute_time_seconds_count") == 1


def test_the_last_values_are_in_the_file_after_the_stop(server: ScriptedServer, tmp_path: Path) -> None:
    with poller_for(server, tmp_path, interval=3_600):
        wait_for((tmp_path / "metrics.log").exists)
        server.add(a_task("a"))
        server.wait_for_updates(1)
    metrics = Metrics((tmp_path / "metrics.log").read_text())
    assert metrics.value("task_execution_started_total", taskType="work") == 1
    assert metrics.value("task_update_time_seconds_count", taskType="work", status="SUCCESS") == 1
    assert metrics.value("conductor_worker_slots_free", taskType="work") is None, "it has no slots any more"


def test_unsent_results_are_counted(server: ScriptedServer, tmp_path: Path) -> None:
    def update(_result: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    server.update = update
    poller = poller_for(server, tmp_path)
    poller.start()
    server.add(a_task("a"))
    wait_for(lambda: poller.health().unsent == 1)
    assert poller.stop(timeout=0).unsent == 1
    assert Metrics((tmp_path / "metrics.log").read_text()).value("conductor_worker_unsent_updates_total") == 1


def process(server: ScriptedServer, task_type: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, PROCESS, task_type, server.target, folder])


@pytest.mark.bug("python-sdk#376")
def test_several_processes_write_one_file(server: ScriptedServer, tmp_path: Path) -> None:
    """Also when one of them is killed, the one that has been writing the file first."""
    path = tmp_path / "metrics.log"
    processes = [process(server, "work", tmp_path)]
    try:
        wait_for(path.exists)
        processes += [process(server, "work", tmp_path) for _ in range(2)]
        wait_for(lambda: path.exists() and Metrics(path.read_text()).total("conductor_worker_slots_free") == 6)
        server.add(*(a_task(str(number)) for number in range(30)))
        server.wait_for_updates(30)
        wait_for(lambda: started(path) == 30)
        for left in (2, 1):
            killed = processes.pop(0)
            killed.kill()
            assert killed.wait(30) == -signal.SIGKILL
            wait_for(lambda: Metrics(path.read_text()).total("conductor_worker_slots_free") == 2 * left)  # noqa: B023
            assert started(path) == 30, "what a killed process has counted is lost, or counted twice"
            before = Metrics(path.read_text()).total("task_poll_total")
            wait_for(lambda: Metrics(path.read_text()).total("task_poll_total") > before)  # noqa: B023
        processes.append(process(server, "other", tmp_path))
        wait_for(lambda: Metrics(path.read_text()).total("conductor_worker_slots_free", taskType="other") == 2)
    finally:
        for each in processes:
            each.send_signal(signal.SIGTERM)
        assert [each.wait(30) for each in processes] == [0] * len(processes)
    metrics = Metrics(path.read_text())
    assert metrics.total("task_execution_started_total") == 30
    assert metrics.of("conductor_worker_slots_free") == {}
    assert sorted(each.name for each in (tmp_path / ".metrics.log.processes").iterdir()) == ["ended.json", "lock"]


def test_a_full_disk_costs_the_file_only(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full is the kernel's own full disk."""
    monkeypatch.setattr("conductor_grpc.observe.metrics_file.RETRY_INTERVAL", 0.02)
    path, full, publish = tmp_path / "metrics.log", threading.Event(), ProcessFolder.publish

    def publish_there(folder: ProcessFolder, content: bytes) -> None:
        if full.is_set():
            Path("/dev/full").write_bytes(content)
        publish(folder, content)

    monkeypatch.setattr(ProcessFolder, "publish", publish_there)
    with poller_for(server, tmp_path), caplog.at_level(logging.INFO):
        wait_for(path.exists)
        full.set()
        wait_for(lambda: "No space left on device" in caplog.text)
        last = path.read_text()
        server.add(a_task("a"))
        server.wait_for_updates(1)
        assert path.read_text() == last, "the old file stays"
        assert f"cannot write the metrics file {path}" in caplog.text
        assert "make room" in caplog.text
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert len(warnings) == 1, "one in ten seconds is enough"
        full.clear()
        wait_for(lambda: started(path) == 1)
        wait_for(lambda: "is written again" in caplog.text)


def test_a_folder_that_is_removed_is_made_again(server: ScriptedServer, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with poller_for(server, folder):
        wait_for((folder / "metrics.log").exists)
        shutil.rmtree(folder, ignore_errors=True)
        wait_for((folder / "metrics.log").exists)
        server.add(a_task("a"))
        wait_for(lambda: started(folder / "metrics.log") == 1)


def test_a_folder_that_cannot_be_does_not_keep_a_poller_from_working(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with poller_for(server, tmp_path / "file" / "folder"):
        server.add(a_task("a"))
        server.wait_for_updates(1)
        wait_for(lambda: "cannot write the metrics file" in caplog.text)
    assert "MetricsSettings(directory=...)" in caplog.text


# -- what processes know of each other --


def values_of(tasks: int, free: int = 1) -> Values:
    values = Values()
    values.add("task_execution_started_total", ("t",), tasks)
    values.add("conductor_worker_slots_free", ("t",), free)
    values.add("task_execute_time_seconds", ("t", "SUCCESS"), Reading([tasks] + [0] * 12, tasks / 2))
    return values


def counted(values: Values | None) -> tuple[object, object, object]:
    assert values is not None
    names = ("task_execution_started_total", "conductor_worker_slots_free")
    started, free = (values.by_name.get(name, {}).get(("t",)) for name in names)
    return started, free, values.by_name["task_execute_time_seconds"]["t", "SUCCESS"]


def reading(count: int) -> Reading:
    return Reading([count] + [0] * 12, count / 2)


def test_only_one_adds_up_and_the_next_takes_over(tmp_path: Path) -> None:
    one, two = (ProcessFolder(tmp_path / "m.log") for _ in range(2))
    one.write(values_of(2))
    two.write(values_of(3))
    assert counted(one.gathered()) == (5, 2, reading(5))
    assert two.gathered() is None
    one.leave()
    one.close()
    assert counted(two.gathered()) == (5, 1, reading(5))
    two.write(values_of(4))
    assert counted(two.gathered()) == (6, 1, reading(6))
    two.leave()
    assert counted(two.gathered()) == (6, None, reading(6))
    two.close()


def test_a_kill_while_adding_up_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (ProcessFolder(tmp_path / "m.log") for _ in range(2))
    one.write(values_of(2))
    one.close()
    two.write(values_of(3))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        two.gathered()
    monkeypatch.undo()
    assert len(list(two.path.glob("*.json"))) == 3, "the fault has not struck"
    assert counted(two.gathered()) == (5, 1, reading(5))
    assert counted(two.gathered()) == (5, 1, reading(5))
    two.close()


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"format":99,"values":{}}', '{"format":1,"values":{"x":[]}}'])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, content: str) -> None:
    folder = ProcessFolder(tmp_path / "m.log")
    folder.write(values_of(2))
    (folder.path / "stranger.json").write_text(content)
    assert counted(folder.gathered()) == (2, 1, reading(2))
    (folder.path / f"{ENDED}.json").write_text(content)
    assert counted(folder.gathered()) == (2, 1, reading(2))
    folder.close()


def test_gauges_are_gathered_each_in_its_way() -> None:
    def values(oldest: float, last_poll: float) -> Values:
        made = Values()
        made.add("conductor_worker_outbox_oldest_seconds", (), oldest)
        made.add("conductor_worker_last_successful_poll_timestamp_seconds", ("t",), last_poll)
        return made

    both = gather([values(1, 100), values(2, 0)], Values())
    assert both.by_name["conductor_worker_outbox_oldest_seconds"][()] == 2
    assert both.by_name["conductor_worker_last_successful_poll_timestamp_seconds"]["t",] == 0
    ended = Values()
    fold(ended, both)
    assert ended.by_name == {}


def test_values_come_back_as_they_were() -> None:
    values = values_of(7)
    assert Values.from_json(values.to_json()).by_name == values.by_name


def test_starts_and_stops(server: ScriptedServer, tmp_path: Path) -> None:
    for _ in range(10):
        with poller_for(server, tmp_path):
            pass
    assert not [each.name for each in threading.enumerate() if each.name.startswith("conductor-")]
    assert sorted(each.name for each in (tmp_path / ".metrics.log.processes").iterdir()) == ["ended.json", "lock"]
