"""What outlives the process: every change is on disk before the request that made it is answered."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from google.protobuf.message import DecodeError

from conductor_grpc.errors import LauncherError
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.server.embedded.engine.database import open_database
from conductor_grpc.server.embedded.engine.failures import StoreFailure
from conductor_grpc.server.embedded.engine.memory_store import Contents, MemoryStore
from conductor_grpc.server.embedded.engine.plan import make_plan
from conductor_grpc.server.embedded.engine.records import TaskLog
from conductor_grpc.server.embedded.engine.rows import task_from, task_text, workflow_from, workflow_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_TASK, _WORKFLOW, _EVENT_HANDLER = "task", "workflow", "event handler"
"""Kinds of definitions."""


@dataclass(slots=True)
class _PlanRow:
    """A definition that workflows were started with."""

    key: int
    uses: int = 0
    """How many workflows there are of it."""


@dataclass(slots=True)
class _TaskRow:
    key: int
    lines: int = 0
    """How many lines of its log are on disk."""


@dataclass(slots=True)
class _WorkflowRow:
    key: int
    plan: bytes
    tasks: dict[str, _TaskRow] = field(default_factory=dict)


@dataclass(slots=True)
class _Changes:
    """What the next commit has to write. It can be written again after a commit that failed."""

    workflows: dict[WorkflowRecord, None] = field(default_factory=dict)
    tasks: dict[TaskRecord, None] = field(default_factory=dict)
    plans: dict[int, bytes] = field(default_factory=dict)
    definitions: dict[tuple[str, str, int], bytes | None] = field(default_factory=dict)
    """By kind, name and version; None: deleted."""
    gone: set[str] = field(default_factory=set)
    """Ids of workflows that shall not come back, whoever saves them before the commit."""
    gone_workflows: list[int] = field(default_factory=list)
    gone_tasks: list[int] = field(default_factory=list)
    gone_plans: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.workflows or self.tasks or self.definitions or self.gone or self.gone_tasks)


class Store(MemoryStore):
    """Keeps everything in one SQLite file, which is this process's alone.

    Making one and `load` raise LauncherError where the file cannot be used. `commit` and `load` block for as long as
    the disk does.

    Rows have small numbers for keys, given in the order in which things were made: what changes together lies
    together, and a transaction writes few pages.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._database = open_database(self.path)
        self._next_key = 1
        self._plans: dict[bytes, _PlanRow] = {}
        self._rows: dict[str, _WorkflowRow] = {}
        self._changes = _Changes()

    # -- changes --

    def save_workflow(self, workflow: WorkflowRecord) -> None:
        self._changes.workflows[workflow] = None

    def save_task(self, task: TaskRecord) -> None:
        self._changes.tasks[task] = None

    def delete_task(self, task: TaskRecord) -> None:
        self._changes.tasks.pop(task, None)
        row = self._rows.get(task.workflow.workflow_id)
        if row is not None and (task_row := row.tasks.pop(task.task_id, None)) is not None:
            self._changes.gone_tasks.append(task_row.key)

    def delete_workflow(self, workflow_id: str) -> None:
        self._changes.gone.add(workflow_id)
        row = self._rows.pop(workflow_id, None)
        if row is not None:
            self._changes.gone_workflows.append(row.key)
            self._changes.gone_tasks.extend(task_row.key for task_row in row.tasks.values())
            self._let_go(row.plan)

    def save_task_definition(self, name: str, definition: bytes) -> None:
        self._changes.definitions[_TASK, name, 0] = definition

    def delete_task_definition(self, name: str) -> None:
        self._changes.definitions[_TASK, name, 0] = None

    def save_workflow_definition(self, name: str, version: int, definition: bytes) -> None:
        self._changes.definitions[_WORKFLOW, name, version] = definition

    def save_event_handler(self, name: str, handler: bytes) -> None:
        self._changes.definitions[_EVENT_HANDLER, name, 0] = handler

    def delete_event_handler(self, name: str) -> None:
        self._changes.definitions[_EVENT_HANDLER, name, 0] = None

    # -- writing --

    def commit(self) -> None:
        if not self._changes:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            lines = self._write(self._changes)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise StoreFailure(f"the embedded server cannot write to {self.path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise
        for row, count in lines:
            row.lines = count
        self._changes = _Changes()

    def close(self) -> None:
        self._database.close()

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # SQLite itself may have done it
            self._database.execute("ROLLBACK")

    def _write(self, changes: _Changes) -> list[tuple[_TaskRow, int]]:
        """Writes all changes; returns how long the tasks' logs are then."""
        many = self._database.executemany
        many(
            "INSERT INTO workflows VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET plan = excluded.plan, record = excluded.record",
            list(self._workflow_values(changes)),
        )
        lines: list[tuple[_TaskRow, int]] = []
        many(
            "INSERT INTO tasks VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record",
            list(self._task_values(changes, lines)),
        )
        if changes.plans:
            many("INSERT OR REPLACE INTO plans VALUES (?, ?)", list(changes.plans.items()))
        if changes.definitions:
            self._write_definitions(changes)
        self._delete("workflows", "key", changes.gone_workflows)
        self._delete("tasks", "key", changes.gone_tasks)
        self._delete("logs", "task", changes.gone_tasks)
        self._delete("plans", "key", changes.gone_plans)
        return lines

    def _workflow_values(self, changes: _Changes) -> Iterator[tuple[int, int, str]]:
        for workflow in list(changes.workflows):
            if workflow.workflow_id in changes.gone:
                continue
            try:
                text = workflow_text(workflow)
            except (ValueError, TypeError, RecursionError) as error:
                del changes.workflows[workflow]
                _not_storable(workflow, error)
            row = self._rows.get(workflow.workflow_id)
            if row is None:
                row = self._rows[workflow.workflow_id] = _WorkflowRow(self._new_key(), workflow.plan.wire)
                self._use(row.plan)
            elif row.plan != workflow.plan.wire:
                self._use(workflow.plan.wire)
                self._let_go(row.plan)
                row.plan = workflow.plan.wire
            yield row.key, self._plans[row.plan].key, text

    def _task_values(self, changes: _Changes, lines: list[tuple[_TaskRow, int]]) -> Iterator[tuple[int, int, str]]:
        for task in list(changes.tasks):
            row = self._rows.get(task.workflow.workflow_id)
            if row is None:
                continue
            try:
                text = task_text(task)
            except (ValueError, TypeError, RecursionError) as error:
                del changes.tasks[task]
                _not_storable(task, error)
            task_row = row.tasks.get(task.task_id)
            if task_row is None:
                task_row = row.tasks[task.task_id] = _TaskRow(self._new_key())
            if len(task.logs) != task_row.lines:
                self._write_log(task_row.key, task.logs, task_row.lines)
                lines.append((task_row, len(task.logs)))
            yield task_row.key, row.key, text

    def _write_log(self, key: int, log: list[TaskLog], on_disk: int) -> None:
        if len(log) < on_disk:
            self._delete("logs", "task", [key])
            on_disk = 0
        new = [(key, position, log[position].text, log[position].created_time) for position in range(on_disk, len(log))]
        self._database.executemany("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?)", new)

    def _write_definitions(self, changes: _Changes) -> None:
        for where, definition in changes.definitions.items():
            if definition is None:
                self._database.execute("DELETE FROM definitions WHERE (kind, name, version) = (?, ?, ?)", where)
            else:
                self._database.execute("INSERT OR REPLACE INTO definitions VALUES (?, ?, ?, ?)", (*where, definition))

    def _delete(self, table: str, column: str, keys: list[int]) -> None:
        if keys:
            self._database.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(key,) for key in keys])

    def _use(self, plan: bytes) -> None:
        row = self._plans.get(plan)
        if row is None:
            row = self._plans[plan] = _PlanRow(self._new_key())
            self._changes.plans[row.key] = plan
        row.uses += 1

    def _let_go(self, plan: bytes) -> None:
        row = self._plans[plan]
        row.uses -= 1
        if not row.uses:
            del self._plans[plan]
            self._changes.plans.pop(row.key, None)
            self._changes.gone_plans.append(row.key)

    # -- loading --

    def load(self) -> Contents:
        try:
            # Two definitions may have become the same one; the one that is used no more would stay for ever.
            self._database.execute("DELETE FROM plans WHERE key NOT IN (SELECT plan FROM workflows)")
            workflows = self._load_workflows()
            self._load_tasks(workflows)
            return Contents(
                workflows=list(workflows.values()),
                task_definitions=self._load_definitions(_TASK),
                workflow_definitions=self._load_definitions(_WORKFLOW),
                event_handlers=self._load_definitions(_EVENT_HANDLER),
            )
        except (sqlite3.Error, DecodeError, ValueError, LookupError, TypeError) as error:
            raise LauncherError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); choose another file, or delete it"
            ) from error

    def _load_workflows(self) -> dict[int, WorkflowRecord]:
        plans = {key: make_plan(WorkflowDef.FromString(wire)) for key, wire in self._rows_of("plans")}
        for key, plan in plans.items():
            self._plans[plan.wire] = _PlanRow(key)
        workflows = {}
        for key, plan_key, text in self._rows_of("workflows"):
            workflow = workflow_from(text, plans[plan_key])
            workflows[key] = workflow
            self._rows[workflow.workflow_id] = _WorkflowRow(key, workflow.plan.wire)
            self._plans[workflow.plan.wire].uses += 1
        return workflows

    def _load_tasks(self, workflows: dict[int, WorkflowRecord]) -> None:
        tasks = {}
        for key, workflow_key, text in self._rows_of("tasks"):
            workflow = workflows[workflow_key]
            task = tasks[key] = task_from(text, workflow)
            workflow.tasks.append(task)
            self._rows[workflow.workflow_id].tasks[task.task_id] = _TaskRow(key)
        for workflow in workflows.values():
            workflow.tasks.sort(key=attrgetter("seq"))
        for key, _, text, created_time in self._database.execute("SELECT * FROM logs ORDER BY task, position"):
            task = tasks[key]
            task.logs.append(TaskLog(text, created_time))
            self._rows[task.workflow.workflow_id].tasks[task.task_id].lines += 1

    def _load_definitions(self, kind: str) -> list[bytes]:
        found = self._database.execute(
            "SELECT definition FROM definitions WHERE kind = ? ORDER BY name, version", [kind]
        )
        return [definition for (definition,) in found]

    def _rows_of(self, table: str) -> Iterator[tuple[Any, ...]]:
        """In the order of their keys, which are not given again."""
        for row in self._database.execute(f"SELECT * FROM {table} ORDER BY key"):
            self._next_key = max(self._next_key, row[0] + 1)
            yield row

    def _new_key(self) -> int:
        key = self._next_key
        self._next_key += 1
        return key


def _not_storable(record: WorkflowRecord | TaskRecord, error: Exception) -> NoReturn:
    """Whoever has changed it hears of it once; all others can go on."""
    raise StoreFailure(f"{record!r} cannot be stored: {type(error).__name__}: {error}") from error
