"""The table tells what is wrong: a row that cannot fail proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faults.processes import EmbeddedProcess
from faults.proxy import Call, Fate, Plan
from faults.row import Row, run_row, verdict
from faults.scene import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faults.processes import Server
    from faults.scene import Scene

FEW = replace(SMALL, tasks=30, patience=3.0)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with EmbeddedProcess(tmp_path_factory.mktemp("embedded"), database=False) as server:
        yield server


def judged(run: object, server: Server, folder: Path) -> str:
    row = Row("row", "a row", run)  # type: ignore[arg-type]
    return verdict(row, run_row(row, server, folder / "row", FEW))


def test_a_fault_that_does_not_fire_fails_its_row(embedded: Server, tmp_path: Path) -> None:
    def nothing(scene: Scene) -> None:
        scene.worker()
        scene.feed()

    assert judged(nothing, embedded, tmp_path) == "the fault fired 0 times, and not 1"


def test_tasks_of_a_worker_that_does_not_come_back_are_stranded(embedded: Server, tmp_path: Path) -> None:
    def killed(scene: Scene) -> None:
        worker = scene.worker(seconds=30.0)
        scene.feed()
        scene.until(lambda: scene.begun() > 0, "a task that runs")
        worker.kill()
        scene.fired(1, "kill")

    assert judged(killed, embedded, tmp_path) == "30 tasks stranded"


def test_results_that_never_reach_the_server_are_lost(embedded: Server, tmp_path: Path) -> None:
    class NoUpdates(Plan):
        def requested(self, call: Call) -> None:
            if call.method == "UpdateTask":
                call.fate = Fate.REFUSED

    def refused(scene: Scene) -> None:
        worker = scene.worker(scene.proxies(NoUpdates()), drain_timeout=0.5)
        scene.feed()
        scene.when_done(FEW.tasks - 1)
        scene.until(lambda: "could not send" in worker.log, "a refused update")
        scene.fired(1, "refused updates")

    why = judged(refused, embedded, tmp_path)
    assert "results lost" in why
    assert "'unsent': " in why


def test_a_task_that_is_run_again_without_need_is_told(embedded: Server, tmp_path: Path) -> None:
    """The worker's second life knows nothing of the first, since it has another journal."""

    def forgetful(scene: Scene) -> None:
        worker = scene.worker(scene.proxies(), seconds=0.0)
        scene.feed()
        scene.when_done(10)
        for runs in list(scene.ledger.by_workflow.values())[:3]:
            runs.append(runs[0])
        worker.end()
        scene.worker()
        scene.fired(1, "forgotten")

    assert judged(forgetful, embedded, tmp_path) == "3 tasks ran twice"


def test_a_workflow_that_the_server_gave_no_task_does_not_count(embedded: Server, tmp_path: Path) -> None:
    def locked(scene: Scene) -> None:
        task_type = scene.work.task_types[0]
        without, with_one = (scene.work.start(task_type, {"text": "some"}) for _ in range(2))
        scene.work.workflows.terminate(without, f"Error scheduling tasks: [a], for workflow: {without}")
        scene.expect([without, with_one])
        scene.worker()
        scene.fired(1, "locked database")

    outcome = run_row(Row("row", "a row", locked), embedded, tmp_path / "row", replace(FEW, patience=20.0))
    assert (verdict(Row("row", "a row", locked), outcome), outcome.tasks) == ("", 1)
    assert outcome.notes == ["1 workflows failed on the server before they had a task"]


def test_a_row_whose_workflows_mostly_had_no_task_has_failed(embedded: Server, tmp_path: Path) -> None:
    def locked(scene: Scene) -> None:
        task_type = scene.work.task_types[0]
        workflows = [scene.work.start(task_type, {"text": "some"}) for _ in range(5)]
        for each in workflows[1:]:
            scene.work.workflows.terminate(each, f"Error scheduling tasks: [a], for workflow: {each}")
        scene.expect(workflows)
        scene.worker()
        scene.fired(1, "locked database")

    row = Row("row", "a row", locked)
    outcome = run_row(row, embedded, tmp_path / "row", replace(FEW, patience=20.0))
    assert verdict(row, outcome) == "4 of 5 workflows had no task, too many to leave out"
