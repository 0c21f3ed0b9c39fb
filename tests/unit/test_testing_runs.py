"""What a test can say about a run, and what it is told when it was wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import (
    DefinitionError,
    InvalidRequestError,
    NonRetryableError,
    NotFoundError,
    Task,
    TaskStatus,
    WorkflowStatus,
    worker_task,
)

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc.server.embedded import EmbeddedServer
    from conductor_grpc.testing import ConductorClient, WorkerRunner

OWNER = {"ownerEmail": "someone@example.com"}


def task(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "retryCount": 0, **OWNER, **settings}


def workflow(name: str, *tasks: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"name": name, "tasks": list(tasks), **OWNER, **settings}


def simple(name: str, **inputs: str) -> dict[str, Any]:
    return {"name": name, "taskReferenceName": f"{name}_ref", "inputParameters": inputs}


HALF = workflow("halving", simple("half", x="${workflow.input.x}"), outputParameters={"x": "${half_ref.output.x}"})


@worker_task("half")
def half(x: int) -> dict[str, int]:
    if x < 0:
        raise NonRetryableError("less than nothing")
    if x % 2:
        raise ValueError("odd")
    return {"x": x // 2}


@pytest.fixture
def halving(conductor_client: ConductorClient, run_worker: WorkerRunner) -> ConductorClient:
    """With the workflow and its worker."""
    conductor_client.register(task("half"), HALF)
    run_worker(half)
    return conductor_client


def test_a_run_that_completes(halving: ConductorClient) -> None:
    run = halving.start("halving", {"x": 4}, correlation_id="mine", priority=3)
    ended = run.assert_completed()
    assert (ended.output, ended.correlation_id, ended.priority) == ({"x": 2}, "mine", 3)
    assert (run.status, run.output, run.reason) == (WorkflowStatus.COMPLETED, {"x": 2}, "")
    half_ref = run.task("half_ref")
    assert half_ref.assert_completed().output_data == {"x": 2}
    assert (half_ref.status, half_ref.input, half_ref.output) == (TaskStatus.COMPLETED, {"x": 4}, {"x": 2})
    assert (half_ref.reason, half_ref.logs) == ("", [])
    assert halving.run(run.workflow_id).status is WorkflowStatus.COMPLETED


@pytest.mark.parametrize(("x", "reason"), [(3, "ValueError: odd"), (-1, "NonRetryableError: less than nothing")])
def test_a_run_that_fails(halving: ConductorClient, x: int, reason: str) -> None:
    run = halving.start("halving", {"x": x})
    assert reason in run.assert_failed(reason).reason_for_incompletion
    assert run.task("half_ref").assert_failed(reason).input_data == {"x": x}
    assert run.task("half_ref").reason == reason
    assert run.task("half_ref").logs[0].endswith(reason)


def message(error: pytest.ExceptionInfo[AssertionError]) -> str:
    return re.sub(r"[0-9a-f-]{36}|\d\d:\d\d:\d\d\.\d\d\d", "#", str(error.value))


def test_a_wrong_expectation_shows_the_run(halving: ConductorClient) -> None:
    run = halving.start("halving", {"x": 3, "note": "n" * 40})
    with pytest.raises(AssertionError) as error:
        run.assert_completed()
    told = message(error).splitlines()
    assert told[:8] == [
        "workflow 'halving' is FAILED, expected COMPLETED",
        f'input:  {{"note": "{"n" * 40}", "x": 3}}',
        'output: {"x": null}',
        "reason: Task # failed with status: FAILED and reason: 'ValueError: odd'",
        "id:     #",
        "",
        "TASK      TYPE  TRY  STATE   INPUT     OUTPUT",
        'half_ref  half  0    FAILED  {"x": 3}  {}',
    ]
    assert told[8] == "    reason: ValueError: odd"
    assert told[9] == "    log # Traceback (most recent call last):"
    assert told[-1] == "        ValueError: odd"


def test_another_end_than_the_one_expected(halving: ConductorClient) -> None:
    run = halving.start("halving", {"x": 4})
    with pytest.raises(AssertionError, match=r"is COMPLETED, expected FAILED"):
        run.assert_failed()
    with pytest.raises(AssertionError, match=r"is COMPLETED, expected TIMED_OUT"):
        run.assert_timed_out()
    with pytest.raises(AssertionError, match=r"task 'half_ref' is COMPLETED, expected FAILED or FAILED_WITH_TERMINAL"):
        run.task("half_ref").assert_failed()
    with pytest.raises(AssertionError, match=r"task 'other_ref' is not there, expected COMPLETED"):
        run.task("other_ref").assert_completed()
    with pytest.raises(AssertionError, match=r"is COMPLETED and has no task 'half_ref' \(attempt 1\)"):
        run.task("half_ref", attempt=1).now()
    with pytest.raises(AssertionError, match=r"has started no sub-workflow in 'half_ref', which is COMPLETED"):
        run.task("half_ref").sub_workflow.now()


def test_another_reason_than_the_one_expected(halving: ConductorClient) -> None:
    run = halving.start("halving", {"x": 3})
    with pytest.raises(AssertionError, match=r"is FAILED for another reason, expected 'even'"):
        run.assert_failed("even")
    with pytest.raises(AssertionError, match=r"task 'half_ref' FAILED for another reason, expected 'even'"):
        run.task("half_ref").assert_failed("even")


def test_a_run_that_is_left_alone_says_what_it_lacks(conductor_client: ConductorClient) -> None:
    conductor_client.register(task("half"), HALF)
    run = conductor_client.start("halving", {"x": 4})
    with pytest.raises(AssertionError) as error:
        run.assert_completed(timeout=0)
    assert message(error).startswith("workflow 'halving' is RUNNING after 0 s, expected it to end\n")
    assert message(error).endswith("half_ref has not been polled: does run_worker run a worker for 'half'?")
    with pytest.raises(AssertionError, match=r"is RUNNING: task 'half_ref' is SCHEDULED, expected COMPLETED"):
        run.task("half_ref").assert_completed(timeout=0)


def test_the_hint_names_the_domain(conductor_client: ConductorClient) -> None:
    conductor_client.register(task("half"), HALF)
    assert conductor_client.task.poll("half", domain="eu") is None  # the server knows a domain by who polls in it
    run = conductor_client.start("halving", {"x": 4}, task_to_domain={"half": "eu"})
    with pytest.raises(AssertionError, match=r"run a worker for 'half' of the domain 'eu'\?"):
        run.wait(timeout=0)


@pytest.mark.feature("Test server, skipping of time")
def test_time_that_passes(
    conductor_server: EmbeddedServer, conductor_client: ConductorClient, run_worker: WorkerRunner
) -> None:
    """The attempts of an hour each are told apart, and a wait that nobody ends is explained."""

    @worker_task("fetch")
    def fetch(task: Task) -> None:
        if task.retry_count < 2:
            raise ConnectionError(f"attempt {task.retry_count}")

    conductor_client.register(
        task("fetch", retryCount=3, retryLogic="FIXED", retryDelaySeconds=3600), workflow("fetching", simple("fetch"))
    )
    run_worker(fetch)
    run = conductor_client.start("fetching")
    for attempt in (0, 1):
        run.task("fetch_ref", attempt=attempt).assert_failed(f"attempt {attempt}")
        run.task("fetch_ref", attempt=attempt + 1).assert_status(TaskStatus.SCHEDULED)
        with pytest.raises(AssertionError, match=r"fetch_ref is not due for 3600 s: conductor_server\.clock\.advance"):
            run.wait(timeout=0)
        conductor_server.clock.advance(3600)
    run.assert_completed()
    assert run.task("fetch_ref").now().retry_count == 2


def test_a_timeout_and_a_termination(conductor_server: EmbeddedServer, conductor_client: ConductorClient) -> None:
    conductor_client.register(
        task("half", timeoutSeconds=3600, responseTimeoutSeconds=3000, timeoutPolicy="TIME_OUT_WF"), HALF
    )
    run = conductor_client.start("halving", {"x": 4})
    assert conductor_client.task.poll("half") is not None
    conductor_server.clock.advance(3601)
    run.assert_timed_out()
    run.task("half_ref").assert_status("TIMED_OUT")
    run = conductor_client.start("halving", {"x": 4})
    conductor_client.workflow.terminate(run.workflow_id, "no longer wanted")
    run.assert_terminated("no longer wanted")


def test_a_sub_workflow(halving: ConductorClient) -> None:
    halving.register(
        workflow(
            "around",
            {
                "name": "inner",
                "taskReferenceName": "inner_ref",
                "type": "SUB_WORKFLOW",
                "subWorkflowParam": {"name": "halving", "version": 1},
                "inputParameters": {"x": "${workflow.input.x}"},
            },
        )
    )
    run = halving.start("around", {"x": 8})
    run.assert_completed()
    assert run.task("inner_ref").sub_workflow.output == {"x": 4}


def test_definitions_from_files_and_from_code(conductor_client: ConductorClient, tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"name": "half", "retryCount": 7, "ownerEmail": "someone@example.com"}')
    conductor_client.register(HALF, tmp_path / "half.json")
    assert conductor_client.metadata.get_task("half")["retryCount"] == 7
    assert conductor_client.metadata.get_workflow("halving")["name"] == "halving"
    conductor_client.register({**HALF, "description": "another"}, str(tmp_path))
    assert conductor_client.metadata.get_workflow("halving")["description"] == "another"


def test_of_bad_definitions_none_is_registered(conductor_client: ConductorClient) -> None:
    with pytest.raises(DefinitionError, match="taskReferenceName"):
        conductor_client.register(task("half"), workflow("bad", {"name": "half"}))
    with pytest.raises(NotFoundError):
        conductor_client.metadata.get_task("half")


def test_what_the_embedded_server_does_not_run_is_told(conductor_client: ConductorClient) -> None:
    inline = {"name": "i", "taskReferenceName": "i", "type": "INLINE", "inputParameters": {"expression": "1"}}
    with pytest.raises(InvalidRequestError, match="INLINE"):
        conductor_client.register(workflow("scripted", inline))
