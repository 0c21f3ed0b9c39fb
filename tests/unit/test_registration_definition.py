"""`TaskDefinition`: what it accepts, what it says of the rest, and the JSON that it becomes."""

from __future__ import annotations

import dataclasses
import math
import pickle
import threading

import pytest

from conductor_grpc import DefinitionError, TaskDefinition, WorkerDefinitionError, worker_task
from conductor_grpc.definitions import task_definition_to_json, task_definition_to_proto
from conductor_grpc.definitions.rules import rules_of
from conductor_grpc.definitions.schema import fields_of
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.registration import declared_by

NOT_FOR_WORKERS = {"name", "isolationGroupId", "executionNameSpace", "baseType"}
"""The worker has the name; the others are for system tasks."""


def test_every_field_that_is_there_for_workers_can_be_set() -> None:
    document = TaskDefinition().to_json("name")
    assert document.keys() | NOT_FOR_WORKERS == fields_of(TaskDef()).keys()
    assert not document.keys() & (NOT_FOR_WORKERS - {"name"})


def test_its_defaults_are_those_of_conductor_but_for_the_response_timeout() -> None:
    ours = task_definition_to_proto(TaskDefinition().to_json("same"))
    conductors = task_definition_to_proto({"name": "same"})
    assert ours.response_timeout_seconds == 600
    assert conductors.response_timeout_seconds == 3600
    ours.response_timeout_seconds = 3600
    assert ours == conductors
    assert (
        rules_of("conductor.proto.TaskDef").defaults.items()
        <= {
            **TaskDefinition().to_json("same"),
            "responseTimeoutSeconds": 3600,
        }.items()
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 600),
        ({"timeout_seconds": 30}, 30),
        ({"timeout_seconds": 30.0}, 30),
        ({"timeout_seconds": 10_000}, 600),
        ({"response_timeout_seconds": 5, "timeout_seconds": 30}, 5),
        ({"response_timeout_seconds": 7200}, 7200),
    ],
)
def test_the_response_timeout_never_exceeds_the_timeout_by_default(settings: dict[str, float], expected: int) -> None:
    assert TaskDefinition(**settings).to_json("name")["responseTimeoutSeconds"] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"retry_count": -1}, "TaskDefinition.retry_count: -1 is negative: expected a whole number of at least 0"),
        ({"retry_delay_seconds": -5}, "TaskDefinition.retry_delay_seconds: -5 is negative"),
        ({"retry_count": 2.5}, "TaskDefinition.retry_count: expected a whole number, got the number 2.5"),
        ({"retry_count": True}, "TaskDefinition.retry_count: expected a whole number, got the boolean True"),
        ({"retry_count": None}, "TaskDefinition.retry_count: None says nothing: leave the argument out"),
        ({"retry_count": 2**31}, "TaskDefinition.retry_count: 2147483648 is out of range"),
        ({"retry_logic": "EXPONENTIAL"}, "TaskDefinition.retry_logic: 'EXPONENTIAL' is not one of FIXED"),
        ({"timeout_policy": "retry"}, "TaskDefinition.timeout_policy: 'retry' is not one of RETRY"),
        ({"response_timeout_seconds": 0}, "TaskDefinition.response_timeout_seconds: 0 is too small"),
        (
            {"timeout_seconds": 60, "response_timeout_seconds": 61},
            "TaskDefinition.response_timeout_seconds: 61 exceeds timeout_seconds 60",
        ),
        ({"timeout_seconds": 9, "total_timeout_seconds": 8}, "timeout_seconds: 9 exceeds total_timeout_seconds 8"),
        ({"timeout_seconds": 0.5}, "TaskDefinition.timeout_seconds: expected a whole number, got the number 0.5"),
        ({"timeout_seconds": math.inf}, "TaskDefinition.timeout_seconds: expected a whole number, got the number inf"),
        ({"timeout_seconds": "9"}, "TaskDefinition.timeout_seconds: expected a whole number, got the string '9'"),
        ({"backoff_scale_factor": 0}, "TaskDefinition.backoff_scale_factor: 0 is too small"),
        ({"input_keys": "abc"}, "TaskDefinition.input_keys: expected a list, got the string 'abc'"),
        ({"output_keys": ["a", 1]}, "TaskDefinition.output_keys[1]: expected a string, got the number 1"),
        ({"input_template": 3}, "TaskDefinition.input_template: expected an object, got the number 3"),
        ({"input_template": {"retryCount": math.nan}}, "TaskDefinition.input_template.retryCount: retryCount: the num"),
        ({"input_template": {"n": 2**53 + 1}}, "TaskDefinition.input_template.n: n: the integer 9007199254740993"),
        (
            {"input_template": {"lock": threading.Lock()}},
            "TaskDefinition.input_template: cannot be copied (TypeError: ",
        ),
        ({"owner_email": 3}, "TaskDefinition.owner_email: expected a string, got the number 3"),
        ({"task_status_listener_enabled": 1}, "TaskDefinition.task_status_listener_enabled: expected true or false"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(settings: dict[str, object], said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        TaskDefinition(**settings)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert refused.value.path.startswith(f"TaskDefinition.{next(iter(settings))}") or len(settings) > 1


def test_it_is_immutable_hashable_and_survives_pickling() -> None:
    template = {"list": [1]}
    definition = TaskDefinition(input_template=template, output_keys=["a"])
    template["list"].append(2)
    assert definition.input_template == {"list": [1]}
    assert definition.output_keys == ("a",)
    assert pickle.loads(pickle.dumps(definition)) == definition
    assert hash(definition) == hash(TaskDefinition(input_template={"list": [1]}, output_keys=["a"]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        definition.retry_count = 1  # type: ignore[misc]


@worker_task("declared", definition=TaskDefinition(retry_count=1))
def declared(order: dict[str, str], count: int = 1) -> None:
    del order, count


@worker_task("declared", domain="other", register=True)
def elsewhere(order: dict[str, str], colour: str) -> None:
    del order, colour


@worker_task("declared", domain="third", definition=TaskDefinition(retry_count=2))
def otherwise() -> None: ...


def test_the_workers_of_one_type_declare_one_definition() -> None:
    (both,) = declared_by([declared, elsewhere])
    assert (both.name, both.definition, both.register) == ("declared", declared.definition, True)
    message = both.to_proto()
    assert message.retry_count == 1
    assert list(message.input_keys) == ["order", "count", "colour"]
    (one,) = declared_by([declared])
    assert not one.register


def test_input_keys_that_are_said_are_kept() -> None:
    worker = worker_task("keys", definition=TaskDefinition(input_keys=["a"]))(declared.__wrapped__)
    (said,) = declared_by([worker])
    assert task_definition_to_json(said.to_proto())["inputKeys"] == ["a"]
    assert not said.keys_derived


def test_two_workers_of_one_type_cannot_have_two_definitions() -> None:
    with pytest.raises(WorkerDefinitionError, match=r"two workers of 'declared' .*retry_count 1 and 2"):
        declared_by([declared, otherwise])
