"""Records as messages. The expected ones were seen on the released server 3.32.1 (SQLite), ids and times apart."""

from __future__ import annotations

import pytest
from embedded_workflows import task_record, workflow_record
from google.protobuf import any_pb2, text_format

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.model.task_pb2 import Task
from conductor_grpc.pb.model.workflow_pb2 import Workflow
from conductor_grpc.server.embedded.engine.failures import UnmappableValue
from conductor_grpc.server.embedded.services.protos import task_message, task_wire, workflow_message
from conductor_grpc.server.embedded.services.summaries import task_summary, time_text, workflow_summary
from conductor_grpc.worker.status import TaskStatus

POLLED = """
task_type: "a"
input_data { key: "n" value { null_value: NULL_VALUE } }
input_data { key: "x" value { number_value: 7 } }
reference_task_name: "t1"
seq: 1
correlation_id: "c1"
poll_count: 1
task_def_name: "a"
scheduled_time: 1795575698564
start_time: 1795575698641
update_time: 1795575698661
callback_from_worker: true
response_timeout_seconds: 60
workflow_instance_id: "w1"
workflow_type: "orders"
task_id: "id1"
worker_id: "w"
workflow_task {
  name: "a"
  task_reference_name: "t1"
  type: "SIMPLE"
  task_definition { name: "a" response_timeout_seconds: 60 rate_limit_frequency_in_seconds: 1 }
  retry_count: -1
}
rate_limit_frequency_in_seconds: 1
workflow_priority: 5
execution_metadata {}
"""


def test_a_polled_task() -> None:
    workflow = workflow_record("w1", "a", priority=5)
    task = task_record(
        workflow,
        "id1",
        status=TaskStatus.IN_PROGRESS,
        correlation_id="c1",
        seq=1,
        input={"n": None, "x": 7.0},
        scheduled_time=1795575698564,
        start_time=1795575698641,
        update_time=1795575698661,
        poll_count=1,
        worker_id="w",
        response_timeout_seconds=60,
    )
    expected = text_format.Parse(POLLED, Task())
    assert Task.FromString(task_wire(task, strict=True)) == expected
    assert task_message(task, strict=True) == expected


def test_every_field_of_a_task() -> None:
    workflow = workflow_record("w1", "a", priority=3)
    message = any_pb2.Any(type_url="t", value=b"v")
    task = task_record(
        workflow,
        "id1",
        status=TaskStatus.TIMED_OUT,
        seq=2,
        retry_count=3,
        retried_task_id="before",
        retried=True,
        executed=True,
        iteration=4,
        correlation_id="c",
        scheduled_time=5,
        start_time=6,
        end_time=7,
        update_time=8,
        first_start_time=9,
        start_delay_seconds=10,
        callback_after_seconds=11,
        response_timeout_seconds=12,
        poll_count=13,
        worker_id="worker",
        domain="east",
        reason="why",
        sub_workflow_id="child",
        sub_workflow_changed=True,
        parent_task_id="parent",
        input_message=message,
        output_message=message,
        external_input_path="in",
        external_output_path="out",
    )
    shown = task_message(task, strict=True)
    not_here = {
        "input_data",
        "output_data",
        "rate_limit_per_frequency",
        "execution_name_space",
        "isolation_group_id",
        "runtime_metadata",
    }
    assert {field.name for field, _ in shown.ListFields()} == {f.name for f in Task.DESCRIPTOR.fields} - not_here
    assert (shown.retry_count, shown.retried_task_id, shown.iteration) == (3, "before", 4)
    assert (shown.scheduled_time, shown.start_time, shown.end_time, shown.update_time) == (5, 6, 7, 8)
    assert (shown.first_start_time, shown.start_delay_in_seconds, shown.callback_after_seconds) == (9, 10, 11)
    assert (shown.response_timeout_seconds, shown.poll_count, shown.workflow_priority) == (12, 13, 3)
    assert (shown.domain, shown.reason_for_incompletion, shown.sub_workflow_id) == ("east", "why", "child")
    assert (shown.external_input_payload_storage_path, shown.external_output_payload_storage_path) == ("in", "out")
    assert (shown.status, shown.correlation_id) == (Task.TIMED_OUT, "c")
    assert shown.output_message == message


def test_an_integer_is_poison_in_strict_mode_only() -> None:
    workflow = workflow_record("w1", "a", input={"n": 7})
    task = task_record(workflow, "id1", input={"deep": [{"n": 7}]})
    for render in (task_wire, task_message):
        with pytest.raises(UnmappableValue, match="cannot map to Value type: 7"):
            render(task, strict=True)
    with pytest.raises(UnmappableValue):
        workflow_message(workflow, include_tasks=False, strict=True)
    shown = task_message(task, strict=False)
    assert shown.input_data["deep"].list_value.values[0].struct_value.fields["n"].number_value == 7


def test_a_payload_that_is_elsewhere_is_not_shown() -> None:
    task = task_record(workflow_record("w1", "a"), "id1", output={"o": 1.0}, external_output_path="there")
    shown = task_message(task, strict=False)
    assert not shown.output_data
    assert shown.external_output_payload_storage_path == "there"


@pytest.mark.parametrize("strict", [True, False])
def test_a_payload_over_3_mib_is_elsewhere_in_strict_mode(strict: bool) -> None:
    largest = {"text": "é" * (1536 * 1024 - 6) + "x"}  # with {"text":""} just 3 MiB
    task = task_record(workflow_record("w1", "a"), "id1", input=largest, output={"text": largest["text"] + "x"})
    shown = task_message(task, strict=strict)
    assert shown.input_data["text"].string_value == largest["text"]
    assert shown.external_input_payload_storage_path == ""
    assert bool(shown.output_data) is not strict
    assert bool(shown.external_output_payload_storage_path) is strict


def test_an_integer_in_a_task_is_met_only_when_tasks_are_asked_for() -> None:
    workflow = workflow_record("w1", "a")
    task_record(workflow, "id1", input={"n": 7})
    assert not workflow_message(workflow, include_tasks=False, strict=True).tasks
    with pytest.raises(UnmappableValue):
        workflow_message(workflow, include_tasks=True, strict=True)


def test_a_workflow() -> None:
    workflow = workflow_record(
        "w1",
        "a",
        "b",
        status=WorkflowStatus.FAILED,
        input={"x": 1.0},
        output={"y": "z"},
        variables={"v": None},
        end_time=2,
        last_retried_time=3,
        correlation_id="c",
        priority=4,
        reason="why",
        event="e",
        parent_workflow_id="p",
        parent_workflow_task_id="pt",
        rerun_from_workflow_id="r",
        task_to_domain={"*": "east"},
        failed_reference_names=["t1"],
        failed_task_names=["a"],
        external_input_path="in",
        external_output_path="out",
    )
    task = task_record(workflow, "id1", output={"o": 0.5})
    shown = workflow_message(workflow, include_tasks=True, strict=True)
    assert {field.name for field, _ in shown.ListFields()} == {f.name for f in Workflow.DESCRIPTOR.fields} - {"history"}
    assert shown.status == Workflow.FAILED
    assert list(shown.tasks) == [task_message(task, strict=True)]
    assert [each.task_definition.name for each in shown.workflow_definition.tasks] == ["a", "b"]
    assert (shown.parent_workflow_id, shown.parent_workflow_task_id) == ("p", "pt")
    assert (shown.re_run_from_workflow_id, shown.event, shown.reason_for_incompletion) == ("r", "e", "why")
    assert dict(shown.task_to_domain) == {"*": "east"}


def test_the_summary_of_a_task() -> None:
    workflow = workflow_record("w1", "a", priority=2)
    task = task_record(
        workflow,
        "id1",
        correlation_id="c0",
        status=TaskStatus.COMPLETED,
        input={"s": 'é "q"', "n": None},
        output={"x": 0.0, "y": [1.0, {"z": True}]},
        scheduled_time=1795575917774,
        start_time=1795575917893,
        update_time=1795575917895,
        end_time=1795575917905,
        domain="east",
    )
    summary = task_summary(task, now=0)
    assert summary.scheduled_time == "2026-11-25T03:05:17.774Z"
    assert summary.end_time == "2026-11-25T03:05:17.905Z"
    assert (summary.execution_time, summary.queue_wait_time) == (12, 119)
    assert summary.input == '{s=é "q", n=null}'
    assert summary.output == "{x=0.0, y=[1.0, {z=true}]}"
    assert (summary.workflow_id, summary.workflow_type, summary.correlation_id) == ("w1", "orders", "c0")
    assert (summary.task_type, summary.domain, summary.workflow_priority) == ("a", "east", 2)


def test_the_summary_of_a_task_that_was_never_polled_counts_from_1970() -> None:
    task = task_record(workflow_record("w1", "a"), "id1", scheduled_time=5, end_time=1795575917936)
    summary = task_summary(task, now=0)
    assert (summary.start_time, summary.execution_time) == ("1970-01-01T00:00:00.000Z", 1795575917936)
    assert summary.queue_wait_time == 0


def test_the_summary_of_a_postponed_task_says_how_long_it_has_been_due_again() -> None:
    task = task_record(
        workflow_record("w1", "a"), "id1", scheduled_time=5, start_time=6, update_time=1000, callback_after_seconds=2
    )
    assert task_summary(task, now=2000).queue_wait_time == 0
    assert task_summary(task, now=3500).queue_wait_time == 500


def test_the_summary_of_a_task_that_was_postponed_by_all_that_can_be_sent() -> None:
    task = task_record(workflow_record("w1", "a"), "id1", scheduled_time=5, start_time=6, update_time=1000)
    for seconds, waited in ((-(2**63), 2**63 - 1), (2**63 - 1, 0)):
        task.callback_after_seconds = seconds
        assert task_summary(task, now=2000).queue_wait_time == waited


def test_the_summary_of_a_workflow() -> None:
    workflow = workflow_record(
        "w1", "a", create_time=1795575917777, input={"h": 123456789.5}, task_to_domain={"*": "d"}
    )
    summary = workflow_summary(workflow)
    assert (summary.start_time, summary.end_time) == ("2026-11-25T03:05:17.777Z", "")
    assert (summary.input, summary.output, summary.classifier) == ("{h=1.234567895E8}", "{}", "workflow")
    assert (summary.workflow_type, summary.version, summary.execution_time) == ("orders", 1, 0)
    workflow.status = WorkflowStatus.FAILED
    workflow.end_time = workflow.update_time = 1795575917936
    workflow.failed_reference_names, workflow.failed_task_names = ["t1", "t2"], ["a"]
    summary = workflow_summary(workflow)
    assert (summary.end_time, summary.update_time) == ("2026-11-25T03:05:17.936Z",) * 2
    assert summary.execution_time == 159
    assert summary.failed_reference_task_names == "t1,t2"
    assert list(summary.failed_task_names) == ["a"]


def test_times_have_three_digits_of_a_second() -> None:
    assert time_text(1_000) == "1970-01-01T00:00:01.000Z"
    assert time_text(2**41 + 7) == "2039-09-07T15:47:35.559Z"
