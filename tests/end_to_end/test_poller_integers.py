"""JSON integers, which the server cannot send over gRPC: it strands the task and the batch it came in."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from rest_user import RestUser

from conductor_grpc import Configuration, Task, TaskPoller, worker_task

if TYPE_CHECKING:
    from conftest import ServerAddress

BATCH = 6


class Run:
    """Starts `values` as workflows of one task, runs a poller until all have ended, keeps what was seen."""

    def __init__(self, server: ServerAddress, task_type: str, values: list[Any], *, rest: bool) -> None:
        self.user = RestUser(server.base_url)
        self.user.register(task_type, f"{task_type}_workflow", {"value": "${workflow.input.value}"})
        self.ids = [self.user.start(f"{task_type}_workflow", {"value": value}) for value in values]
        self.executions: list[tuple[str, object]] = []
        lock = threading.Lock()

        @worker_task(task_type, concurrency=20)
        def work(task: Task, value: object) -> dict[str, object]:
            with lock:
                self.executions.append((task.task_id, value))
            return {"value": value}

        configuration = Configuration(
            server.base_url if rest else "", target=server.target, poll_wait_ms=1000, worker_id="integers"
        )
        with TaskPoller([work], configuration) as poller:
            self.closed = [self.user.wait_until_closed(workflow_id, 20) for workflow_id in self.ids]
            self.source = poller.health().workers[0].source
        self.stranded = self.user.in_progress(task_type)

    @property
    def statuses(self) -> list[str]:
        return [workflow["status"] for workflow in self.closed]


@pytest.mark.parametrize("position", range(BATCH))
def test_an_integer_at_any_place_of_a_batch_strands_nothing(real_server: ServerAddress, position: int) -> None:
    values: list[Any] = ["text"] * BATCH
    values[position] = 7
    run = Run(real_server, f"poison_{position}", values, rest=True)
    assert run.statuses == ["COMPLETED"] * BATCH
    assert run.stranded == []
    assert run.source == "rest", "the poison was never met"
    assert len(run.executions) == len({task_id for task_id, _ in run.executions}) == BATCH
    received = [value for _, value in run.executions if value != "text"]
    assert received == [7]
    assert type(received[0]) is int


def test_a_number_has_the_same_type_over_rest_as_over_grpc(real_server: ServerAddress) -> None:
    """What a worker sees must not change on the day on which somebody starts one workflow with an integer."""
    run = Run(
        real_server, "whole_numbers", [{"whole": 3.0, "half": 2.5}, {"poison": 1, "whole": 3.0, "half": 2.5}], rest=True
    )
    assert run.source == "rest", "the poison was never met"
    for _, value in run.executions:
        assert isinstance(value, dict)
        assert {key: type(number) for key, number in value.items() if key != "poison"} == {"whole": int, "half": float}


def test_integers_nested_and_large_come_intact(real_server: ServerAddress) -> None:
    value = {"list": [1, 2.5, {"deep": 2**53 + 1}], "negative": -3}
    run = Run(real_server, "nested_integers", [value], rest=True)
    assert [executed for _, executed in run.executions] == [value]
    # Beyond 2**53 the way back over gRPC cannot carry it, and says so instead of rounding.
    assert run.statuses == ["FAILED"]
    assert "value.list[2].deep" in run.closed[0]["reasonForIncompletion"]


def test_without_rest_the_poisoned_fail_at_once_and_the_others_run(
    real_server: ServerAddress, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "conductor_grpc.poller.intake"):
        run = Run(real_server, "no_rest", ["a", 1, "b", 2, "c"], rest=False)
    assert run.statuses == ["COMPLETED", "FAILED", "COMPLETED", "FAILED", "COMPLETED"]
    assert run.stranded == []
    assert sorted(str(value) for _, value in run.executions) == ["a", "b", "c"]
    reason = run.closed[1]["reasonForIncompletion"]
    assert "integer" in reason
    assert "base_url" in reason
    told = [record for record in caplog.records if "JSON integers" in record.getMessage()]
    assert len(told) == 1, "said once, with the reason"
