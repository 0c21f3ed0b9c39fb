"""The embedded server's SQLite file: what is committed is there again, and what cannot be used is said."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from embedded_records import a_plan, a_task, a_workflow
from google.protobuf.any_pb2 import Any as AnyMessage

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.errors import LauncherError
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.server.embedded.clock import Clock
from conductor_grpc.server.embedded.engine.database import SCHEMA_VERSION
from conductor_grpc.server.embedded.engine.engine import Engine
from conductor_grpc.server.embedded.engine.failures import StoreFailure
from conductor_grpc.server.embedded.engine.memory_store import Contents, MemoryStore
from conductor_grpc.server.embedded.engine.records import TaskLog, TaskRecord, WorkflowRecord
from conductor_grpc.server.embedded.engine.store import Store
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = a_plan()
PAYLOAD = {
    "float": 5.0,
    "large": 1e300,
    "int": 7,
    "huge": 10**30,
    "null": None,
    "text": "é \U0001f600 \x00",
    "not a number": "NaN",
    "flags": [True, False],
    "nested": {"list": [1.0, 2, {"empty": {}}, []]},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    store.load()
    yield store
    store.close()


def save(store: Store, *records: WorkflowRecord | TaskRecord) -> None:
    for record in records:
        if isinstance(record, TaskRecord):
            store.save_task(record)
        else:
            store.save_workflow(record)
    store.commit()


def reload(store: Store) -> Contents:
    """What a server started on the same file finds."""
    store.close()
    store.__init__(store.path)  # type: ignore[misc]
    return store.load()


def a_job(**fields: Any) -> TaskRecord:
    return a_task(a_workflow(PLAN), **fields)


def rows(store: Store, table: str) -> int:
    (count,) = store._database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def fields_of(record: WorkflowRecord | TaskRecord) -> dict[str, Any]:
    apart = {"plan", "tasks", "workflow", "logs", "queued"}
    return {name: getattr(record, name) for name in record.__dataclass_fields__ if name not in apart}


class TestRecords:
    def test_every_field_comes_back(self, store: Store) -> None:
        workflow = a_workflow(PLAN, input=PAYLOAD, output=PAYLOAD, variables=PAYLOAD)
        task = a_task(workflow, input=PAYLOAD, output=PAYLOAD)
        for record in (workflow, task):
            for name, value in fields_of(record).items():
                if value == "" or value == []:
                    setattr(record, name, ["one", "two"] if value == [] else f"a {name}")
                elif type(value) is int:
                    setattr(record, name, 1_795_000_000_000 + len(name))
                elif value is False:
                    setattr(record, name, True)
        workflow.status = WorkflowStatus.PAUSED
        workflow.task_to_domain = {"*": "east"}
        task.status = TaskStatus.IN_PROGRESS
        task.input_message = AnyMessage(type_url="type", value=b"\x00\xff")
        task.output_message = AnyMessage()
        task.logs = [TaskLog("first", 5), TaskLog("second \x00 é", 0)]
        save(store, workflow, task)

        (found,) = reload(store).workflows
        (found_task,) = found.tasks
        assert fields_of(found) == fields_of(workflow)
        assert fields_of(found_task) == fields_of(task)
        assert found_task.workflow is found
        assert found_task.plan is found.plan.tasks[0]
        assert found.plan.definition == workflow.plan.definition
        assert [(line.text, line.created_time) for line in found_task.logs] == [("first", 5), ("second \x00 é", 0)]
        assert not found_task.queued

    def test_numbers_keep_their_kind(self, store: Store) -> None:
        task = a_job(output=PAYLOAD)
        save(store, task.workflow, task)
        (found,) = reload(store).workflows
        assert repr(found.tasks[0].output) == repr(PAYLOAD)

    def test_the_latest_state_counts(self, store: Store) -> None:
        task = a_job()
        save(store, task.workflow, task)
        task.status, task.output = TaskStatus.COMPLETED, {"x": 1.0}
        task.workflow.status = WorkflowStatus.COMPLETED
        save(store, task.workflow, task)
        (found,) = reload(store).workflows
        assert (found.status, found.tasks[0].status, found.tasks[0].output) == (
            WorkflowStatus.COMPLETED,
            TaskStatus.COMPLETED,
            {"x": 1.0},
        )

    def test_order(self, store: Store) -> None:
        workflows = [a_workflow(PLAN) for _ in range(5)]
        tasks = [a_task(workflows[2]) for _ in range(5)]
        save(store, *workflows, *reversed(tasks))
        found = reload(store).workflows
        assert [each.workflow_id for each in found] == [each.workflow_id for each in workflows]
        assert [each.task_id for each in found[2].tasks] == [each.task_id for each in tasks]

    def test_what_is_not_committed_is_not_there(self, store: Store) -> None:
        store.save_workflow(a_workflow(PLAN))
        assert reload(store).workflows == []

    def test_changes_after_a_reload(self, store: Store) -> None:
        task = a_job()
        save(store, task.workflow, task)
        (workflow,) = reload(store).workflows
        workflow.tasks[0].status = TaskStatus.COMPLETED
        new = a_job()
        save(store, workflow, workflow.tasks[0], new.workflow, new)
        first, second = reload(store).workflows
        assert first.tasks[0].status is TaskStatus.COMPLETED
        assert second.tasks[0].task_id == new.task_id

    def test_deleted_ones_are_gone(self, store: Store) -> None:
        task, other = a_job(), a_job()
        task.logs.append(TaskLog("line", 1))
        save(store, task.workflow, task, other.workflow, other)
        store.delete_workflow(task.workflow.workflow_id)
        store.delete_workflow("nobody knows it")
        save(store, task.workflow, task)
        save(store, task)
        assert [rows(store, table) for table in ("workflows", "tasks", "logs", "plans")] == [1, 1, 0, 1]
        (found,) = reload(store).workflows
        assert found.workflow_id == other.workflow.workflow_id

    def test_one_that_comes_and_goes_within_a_transaction(self, store: Store) -> None:
        task = a_job()
        store.delete_workflow(task.workflow.workflow_id)
        save(store, task, task.workflow)
        assert [rows(store, table) for table in ("workflows", "tasks", "plans")] == [0, 0, 0]

    def test_a_task_that_its_workflow_has_no_more(self, store: Store) -> None:
        workflow = a_workflow(PLAN)
        tasks = [a_task(workflow) for _ in range(3)]
        save(store, workflow, *tasks)
        store.save_task(tasks[1])
        store.delete_task(tasks[1])
        store.commit()
        (found,) = reload(store).workflows
        assert [each.task_id for each in found.tasks] == [tasks[0].task_id, tasks[2].task_id]

    def test_a_log_that_grows_and_one_that_is_cleared(self, store: Store) -> None:
        task = a_job()
        for number in range(3):
            task.logs.append(TaskLog(f"line {number}", number))
            save(store, task.workflow, task)
        (found,) = reload(store).workflows
        (again,) = found.tasks
        assert [line.text for line in again.logs] == ["line 0", "line 1", "line 2"]
        again.logs = [TaskLog("new", 9)]
        save(store, again)
        (found,) = reload(store).workflows
        assert [line.text for line in found.tasks[0].logs] == ["new"]


class TestPlans:
    def test_one_row_for_all_workflows_of_a_definition(self, store: Store) -> None:
        workflows = [a_workflow(a_plan("same")) for _ in range(5)]
        save(store, *workflows)
        assert rows(store, "plans") == 1

    def test_it_goes_with_the_last_of_them(self, store: Store) -> None:
        workflows = [a_workflow(a_plan("same")) for _ in range(2)]
        save(store, *workflows, other := a_workflow(a_plan("other")))
        store.delete_workflow(workflows[0].workflow_id)
        store.commit()
        assert rows(store, "plans") == 2
        store.delete_workflow(workflows[1].workflow_id)
        store.commit()
        assert rows(store, "plans") == 1
        assert [each.name for each in reload(store).workflows] == ["other"]
        store.delete_workflow(other.workflow_id)
        store.commit()
        assert rows(store, "plans") == 0

    def test_a_workflow_that_gets_another(self, store: Store) -> None:
        workflow = a_workflow(a_plan("old"))
        save(store, workflow)
        workflow.plan = a_plan("new")
        save(store, workflow)
        assert rows(store, "plans") == 1
        (found,) = reload(store).workflows
        assert found.name == "new"

    def test_one_that_nobody_uses_goes_at_the_next_load(self, store: Store) -> None:
        store._database.execute("INSERT INTO plans VALUES (99, x'')")
        reload(store)
        assert rows(store, "plans") == 0


class TestDefinitions:
    def test_they_come_back(self, store: Store) -> None:
        wire = TaskDef(name="job").SerializeToString()
        store.save_task_definition("job", b"old")
        store.save_task_definition("job", wire)
        store.save_task_definition("gone", b"x")
        store.save_workflow_definition("flow", 2, b"second")
        store.save_workflow_definition("flow", 1, b"first")
        store.save_event_handler("on", b"handler")
        store.save_event_handler("off", b"handler")
        store.commit()
        store.delete_task_definition("gone")
        store.delete_event_handler("off")
        store.delete_event_handler("never there")
        store.commit()
        contents = reload(store)
        assert contents.task_definitions == [wire]
        assert contents.workflow_definitions == [b"first", b"second"]
        assert contents.event_handlers == [b"handler"]


class TestMemoryStore:
    def test_it_takes_everything_and_has_nothing(self) -> None:
        store = MemoryStore()
        task = a_job()
        store.save_workflow(task.workflow)
        store.save_task(task)
        store.delete_task(task)
        store.delete_workflow(task.workflow.workflow_id)
        store.save_task_definition("job", b"")
        store.delete_task_definition("job")
        store.save_workflow_definition("flow", 1, b"")
        store.save_event_handler("on", b"")
        store.delete_event_handler("on")
        store.commit()
        assert store.load() == Contents()
        store.close()


class TestFilesThatCannotBeUsed:
    def refused(self, path: Path, *words: str) -> None:
        with pytest.raises(LauncherError) as caught:
            Store(path)
        for word in (str(path), *words):
            assert word in str(caught.value)

    def test_in_use(self, path: Path, store: Store) -> None:
        self.refused(path, "is in use", "choose another file")
        store.close()
        Store(path).close()

    @pytest.mark.usefixtures("store")
    def test_in_use_by_another_process(self, path: Path) -> None:
        result = subprocess.run([sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=False)
        assert f"{path} is in use" in result.stdout

    def test_no_database(self, path: Path) -> None:
        path.write_text("something else " * 100)
        self.refused(path, "is not an SQLite database", "choose another file, or delete it")
        assert path.read_text().startswith("something else")

    def test_the_database_of_another_program(self, path: Path) -> None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE plans (whatever)")
        other.close()
        self.refused(path, "of another program")

    def test_a_newer_schema(self, path: Path, store: Store) -> None:
        store._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        store.close()
        self.refused(path, "newer version", "upgrade the package")

    def test_no_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nope" / "server.db", "there is no folder", str(tmp_path / "nope"))

    def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir()
        self.refused(path, "choose another file")

    def test_read_only(self) -> None:
        with tempfile.TemporaryDirectory() as name:  # not `tmp_path`: another user cannot get there
            folder = Path(name)
            folder.chmod(0o755)
            path = folder / "server.db"
            Store(path).close()
            path.chmod(0o444)
            user = os.geteuid()
            try:
                if user == 0:
                    os.seteuid(65534)  # the superuser may write to it all the same
                self.refused(path, f"{path} cannot be written; make it writable")
                self.refused(folder / "other.db", f"{folder} cannot be written; make it writable")
            finally:
                os.seteuid(user)

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE workflows SET record = '{'",
            "UPDATE workflows SET record = '{}'",
            "UPDATE tasks SET record = '[]'",
            "UPDATE tasks SET workflow = 99",
            "UPDATE plans SET definition = x'ff'",
            "DROP TABLE logs",
        ],
    )
    def test_damaged(self, path: Path, store: Store, damage: str) -> None:
        task = a_job()
        save(store, task.workflow, task)
        store._database.execute(damage)
        with pytest.raises(LauncherError, match=r"is damaged .*choose another file, or delete it") as caught:
            reload(store)
        assert str(path) in str(caught.value)


OPEN = """
import sys
from conductor_grpc.errors import LauncherError
from conductor_grpc.server.embedded.engine.store import Store
try:
    Store(sys.argv[1])
except LauncherError as error:
    print(error)
"""


class TestWhenTheDiskFails:
    def full(self, store: Store, pages: int) -> None:
        store._database.execute(f"PRAGMA max_page_count = {pages}")

    def test_nothing_is_lost_when_there_is_room_again(self, path: Path, store: Store) -> None:
        task = a_job(output={"text": "x" * 100_000})
        self.full(store, 1)
        for _ in range(2):
            with pytest.raises(StoreFailure, match=f"cannot write to {path}: database or disk is full"):
                save(store, task.workflow, task)
        with pytest.raises(StoreFailure):
            store.commit()
        assert rows(store, "workflows") == 0
        self.full(store, 100_000)
        later = a_job()
        save(store, later.workflow, later)
        found = reload(store).workflows
        assert {each.workflow_id for each in found} == {task.workflow.workflow_id, later.workflow.workflow_id}
        assert [len(each.tasks) for each in found] == [1, 1]

    def test_deletions_and_logs_are_made_up_for(self, store: Store) -> None:
        old, task = a_job(), a_job()
        save(store, old.workflow, old, task.workflow, task)
        self.full(store, 1)
        task.logs.append(TaskLog("x" * 100_000, 1))
        store.delete_workflow(old.workflow.workflow_id)
        with pytest.raises(StoreFailure):
            save(store, task)
        self.full(store, 100_000)
        store.commit()
        (found,) = reload(store).workflows
        assert found.workflow_id == task.workflow.workflow_id
        assert len(found.tasks[0].logs) == 1

    def test_what_is_no_json_fails_once_and_harms_nobody(self, store: Store) -> None:
        nested: dict[str, Any] = {}
        for _ in range(100_000):
            nested = {"deeper": nested}
        bad, good = a_job(output=nested), a_job()
        with pytest.raises(StoreFailure, match="cannot be stored: RecursionError"):
            save(store, bad.workflow, bad, good.workflow, good)
        store.commit()
        assert len(reload(store).workflows) == 2
        with pytest.raises(StoreFailure, match="cannot be stored: TypeError"):
            save(store, a_workflow(PLAN, output={"object": object()}))
        while nested:  # taking it apart from the outside: Python's own way would go as deep
            nested = nested.pop("deeper")


class TestKill:
    SAVE = """
import sys
from embedded_records import a_plan, a_task, a_workflow
from conductor_grpc.server.embedded.engine.store import Store
store = Store(sys.argv[1])
plan = a_plan()
while True:
    workflow = a_workflow(plan)
    tasks = [a_task(workflow) for _ in range(3)]
    store.save_workflow(workflow)
    for task in tasks:
        store.save_task(task)
    if sys.argv[2] == "commit":
        store.commit()
    print(workflow.workflow_id, flush=True)
"""

    def killed(self, path: Path, how: str) -> tuple[set[str], dict[str, int]]:
        """What was acknowledged, and what is there afterwards: the number of tasks by workflow id."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
        command = [sys.executable, "-c", self.SAVE, str(path), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        with process.stdout as output:
            acknowledged = {output.readline().strip() for _ in range(300)}
            os.kill(process.pid, signal.SIGKILL)
            acknowledged.update(line.strip() for line in output if line.endswith("\n"))
        assert process.wait(10) == -signal.SIGKILL
        store = Store(path)
        found = {workflow.workflow_id: len(workflow.tasks) for workflow in store.load().workflows}
        store.close()
        return acknowledged, found

    def test_everything_acknowledged_is_there(self, path: Path) -> None:
        acknowledged, found = self.killed(path, "commit")
        assert len(acknowledged) >= 300
        assert acknowledged <= found.keys()
        assert set(found.values()) == {3}, "all of a transaction or nothing"

    def test_this_test_would_see_a_loss(self, path: Path) -> None:
        acknowledged, found = self.killed(path, "do not commit")
        assert not acknowledged <= found.keys()


class TestRestore:
    """What an engine makes of the contents."""

    def engine(self, path: Path, keep_finished: int = 5_000) -> Engine:
        return Engine(Clock(), Store(path), keep_finished=keep_finished)

    def test_it_goes_on_where_it_was(self, path: Path) -> None:
        before = self.engine(path)
        now = before.clock.now()
        plan = a_plan(concurrent_exec_limit=1)
        with before.transaction():
            running = a_task(a_workflow(plan), status=TaskStatus.IN_PROGRESS, start_time=now, update_time=now)
            ready, delayed = a_task(a_workflow(plan)), a_task(a_workflow(plan))
            ready.deliver_at, delayed.deliver_at = now, now + 50_000
            done = a_task(a_workflow(plan, status=WorkflowStatus.COMPLETED), status=TaskStatus.COMPLETED)
            before.registry.put_task_definitions(
                [TaskDef(name="job", response_timeout_seconds=1, backoff_scale_factor=1)]
            )
            for task in (running, ready, delayed, done):
                before.touch(task.workflow)
                before.touch(task)
        before.store.close()

        engine = self.engine(path)
        assert engine.registry.task_definition("job") is not None
        assert engine.shelf.task(running.task_id).status is TaskStatus.IN_PROGRESS
        assert engine.queues.size("job") == 2
        assert engine.shelf.task(delayed.task_id).deliver_at == delayed.deliver_at
        assert not engine.limits.allow(engine.shelf.task(ready.task_id)), "one is running"
        assert len(engine.shelf.running("flow")) == 3
        assert engine.alarms.at(running.workflow.workflow_id) is not None
        assert engine.alarms.at(done.workflow.workflow_id) is None
        engine.clock.advance(601)
        assert engine.shelf.task(running.task_id).status is TaskStatus.TIMED_OUT
        assert engine.limits.allow(engine.shelf.task(ready.task_id)), "none is running now, and it is the first"
        assert not engine.limits.allow(engine.shelf.task(delayed.task_id))
        engine.store.close()

    def test_what_became_due_without_a_server(self, path: Path) -> None:
        before = self.engine(path)
        long_ago = before.clock.now() - 3_600_000
        with before.transaction():
            task = a_task(a_workflow(PLAN), status=TaskStatus.IN_PROGRESS, start_time=long_ago, update_time=long_ago)
            before.touch(task.workflow)
            before.touch(task)
        before.store.close()
        engine = self.engine(path)
        engine.clock.advance(0)
        assert engine.shelf.task(task.task_id).status is TaskStatus.TIMED_OUT
        engine.store.close()

    def test_one_that_keeps_fewer(self, path: Path) -> None:
        before = self.engine(path)
        with before.transaction():
            workflows = [a_workflow(PLAN, status=WorkflowStatus.COMPLETED, end_time=9 - number) for number in range(5)]
            for workflow in workflows:
                before.touch(workflow)
        before.store.close()
        engine = self.engine(path, keep_finished=2)
        kept = [workflow.workflow_id for workflow in engine.shelf.workflows()]
        assert kept == [workflow.workflow_id for workflow in workflows[:2]]
        engine.store.close()
        store = Store(path)
        assert len(store.load().workflows) == 2
        store.close()


def test_saving_is_quick(store: Store) -> None:
    tasks = [a_job(input={"number": 1.5, "text": "hello"}) for _ in range(2_000)]
    for task in tasks[:500]:
        save(store, task.workflow, task)
    began = time.process_time()
    for task in tasks[500:]:
        save(store, task.workflow, task)
    each = (time.process_time() - began) / 1_500
    assert each < 1e-3, "about 70 us are usual"
