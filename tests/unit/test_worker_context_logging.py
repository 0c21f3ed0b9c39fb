"""Log records that say in which task they were made."""

from __future__ import annotations

import logging
import logging.config
import re
from typing import TYPE_CHECKING, Any

import pytest
from context_workers import EXECUTORS, Logging, on_every_executor
from executor_bench import Bench

from conductor_grpc import Configuration, Task, TaskContext, TaskLogFilter, worker_task
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.context import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.worker.executor import Executor


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    handler.addFilter(TaskLogFilter())
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.feature("Log records know their task")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_records_carry_task_and_workflow_also_from_a_workers_own_thread(executor: Executor, kept: Kept) -> None:
    (worker,) = on_every_executor(Logging, [executor])
    with Bench(worker) as bench:
        run = bench.start(worker)
        worker_id = run.assert_completed(timeout=60).output["it"]
        task_id = run.task("it").now().task_id
    ours = [each for each in kept.records if each.name == "of.the.worker"]
    assert [each.getMessage() for each in ours] == [f"at work on {executor}", "in a thread"]
    for each in ours:
        assert (each.task_id, each.workflow_id, each.task_type) == (task_id, run.workflow_id, executor)
        assert each.worker_id == worker_id
        assert each.in_task == f" [task {task_id} of workflow {run.workflow_id}]"
    for each in kept.records:
        if each not in ours:
            assert (each.task_id, each.in_task) in (("-", ""), (task_id, "")), each.getMessage()


def test_the_packages_own_word_on_a_failure_carries_them(kept: Kept) -> None:
    @worker_task("work")
    def work() -> None:
        raise ValueError("no")

    call_worker(work, task_id="t1", workflow_instance_id="w1")
    (record,) = kept.records
    assert record.getMessage().startswith("Task t1 (work) of workflow w1 failed")
    assert (record.task_id, record.workflow_id, record.task_type, record.worker_id) == (
        "t1",
        "w1",
        "work",
        "call_worker",
    )
    assert record.in_task == "", "the message says it"


def filtered(**attributes: Any) -> Any:
    record = logging.makeLogRecord({"msg": "it", **attributes})
    assert TaskLogFilter().filter(record) is True
    return record


def test_outside_of_tasks_they_are_there_and_say_nothing() -> None:
    record = filtered()
    assert [record.task_id, record.workflow_id, record.task_type, record.worker_id] == ["-"] * 4
    assert record.in_task == ""


def test_what_a_record_has_already_is_left() -> None:
    with running(TaskContext(Task(task_id="t", workflow_instance_id="w"))):
        record = filtered(task_id="mine")
        other = filtered(workflow_id="mine")
    assert (record.task_id, record.workflow_id, record.in_task) == ("mine", "-", "")
    assert (other.task_id, other.workflow_id) == ("t", "mine")


def test_a_record_made_in_a_task_keeps_it_where_it_is_handled_elsewhere() -> None:
    with running(TaskContext(Task(task_id="t", workflow_instance_id="w"))):
        record = filtered()
    with running(TaskContext(Task(task_id="other", workflow_instance_id="w"))):
        TaskLogFilter().filter(record)
    assert record.task_id == "t"


def test_it_can_be_named_in_a_dict_config(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"task": {"()": "conductor_grpc.TaskLogFilter"}},
            "formatters": {"line": {"format": "%(levelname)s %(task_type)s/%(task_id)s %(message)s"}},
            "handlers": {
                "err": {
                    "class": "logging.StreamHandler",
                    "filters": ["task"],
                    "formatter": "line",
                    "stream": "ext://sys.stderr",
                }
            },
            "loggers": {"configured.by.dict": {"handlers": ["err"], "propagate": False}},
        }
    )
    with running(TaskContext(Task(task_id="t", task_def_name="work"))):
        logging.getLogger("configured.by.dict").warning("it")
    assert capsys.readouterr().err == "WARNING work/t it\n"


def test_the_format_of_debug_shows_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    package, root = logging.getLogger("conductor_grpc"), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(package, "handlers", [])
    monkeypatch.setattr(package, "level", package.level)
    Configuration("", target="localhost:1", debug=True).configure_logging()
    with running(TaskContext(Task(task_id="t", workflow_instance_id="w"))):
        logging.getLogger("conductor_grpc.x").info("inside")
    logging.getLogger("conductor_grpc.x").info("outside")
    inside, outside = capsys.readouterr().err.splitlines()
    assert re.search(r"INFO conductor_grpc\.x \[MainThread\] inside \[task t of workflow w\]$", inside)
    assert outside.endswith("outside")
