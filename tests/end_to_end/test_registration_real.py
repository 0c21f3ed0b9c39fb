"""Definitions from code on the real server: stored as by REST, and none of anybody's is overwritten unasked."""

from __future__ import annotations

import json
import secrets
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import Configuration, TaskDefinition, worker_task
from conductor_grpc.registration import Declared, Outcome, Registrar, declared_by

if TYPE_CHECKING:
    from conftest import ServerAddress

EVERY_SETTING = TaskDefinition(
    description="every setting has a value that is no default",
    retry_count=2,
    retry_logic="LINEAR_BACKOFF",
    retry_delay_seconds=7,
    backoff_scale_factor=2,
    max_retry_delay_seconds=33,
    backoff_jitter_ms=5,
    timeout_seconds=100,
    timeout_policy="RETRY",
    total_timeout_seconds=1000,
    response_timeout_seconds=50,
    poll_timeout_seconds=8,
    concurrent_exec_limit=4,
    rate_limit_per_frequency=3,
    rate_limit_frequency_in_seconds=9,
    owner_email="example@example.com",
    output_keys=["c"],
    input_template={"text": "ä", "half": 0.5, "list": [1.5, [], {}], "no": False, "nothing": None},
    task_status_listener_enabled=False,
)
OF_SYSTEM_TASKS = {"isolationGroupId", "executionNameSpace", "baseType"}
"""Strings that are "" over gRPC and null by REST, and mean nothing for a worker's task."""


def declaring(definition: TaskDefinition | None) -> Declared:
    """By a worker of a task type of its own."""

    @worker_task(f"registered_{secrets.token_hex(4)}", definition=definition)
    def work(a: str, b: str) -> None:
        del a, b

    (declared,) = declared_by([work])
    return declared


def rest(server: ServerAddress, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{server.base_url}/metadata/taskdefs{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def stored(server: ServerAddress, name: str) -> dict[str, object]:
    document: dict[str, object] = rest(server, "GET", f"/{name}")
    return {key: value for key, value in document.items() if key not in ("createTime", "updateTime", "createdBy")}


def with_rest(server: ServerAddress) -> Registrar:
    return Registrar(Configuration(server.base_url, target=server.target))


def without_rest(server: ServerAddress) -> Registrar:
    return Registrar(Configuration("", target=server.target))


def by_rest(server: ServerAddress, name: str, **settings: object) -> dict[str, object]:
    rest(server, "POST", "", [{"name": name, "ownerEmail": "example@example.com", **settings}])
    return stored(server, name)


@pytest.mark.parametrize("definition", [EVERY_SETTING, TaskDefinition(owner_email="example@example.com")])
@pytest.mark.parametrize("connect", [with_rest, without_rest])
def test_it_is_stored_as_by_rest(real_server: ServerAddress, definition: TaskDefinition, connect: Any) -> None:
    ours, theirs = declaring(definition), f"registered_{secrets.token_hex(4)}"
    with connect(real_server) as registrar:
        assert registrar.register_declared(ours).outcome is Outcome.CREATED
        assert registrar.register_declared(ours).outcome is Outcome.UNCHANGED
    over_grpc = stored(real_server, ours.name)
    assert {over_grpc.pop(key) for key in OF_SYSTEM_TASKS} == {""}
    rest(real_server, "POST", "", [definition.to_json(theirs, ("a", "b"))])
    assert over_grpc == stored(real_server, theirs) | {"name": ours.name}


@pytest.mark.parametrize("connect", [with_rest, without_rest])
def test_one_with_integers_is_neither_missing_nor_overwritten(real_server: ServerAddress, connect: Any) -> None:
    """The server answers the same to both over gRPC."""
    declared = declaring(TaskDefinition(retry_count=2, owner_email="example@example.com"))
    theirs = by_rest(real_server, declared.name, retryCount=9, inputTemplate={"limit": 3})
    with connect(real_server) as registrar:
        left = registrar.register_declared(declared)
        assert left.outcome is Outcome.DIFFERS
        assert stored(real_server, declared.name) == theirs
        text = "\n".join(left.lines())
        assert ("set base_url" if connect is without_rest else 'inputTemplate: {"limit": 3} on the server') in text
        assert registrar.register_declared(declared, overwrite=True).outcome is Outcome.UPDATED
        assert registrar.register_declared(declared).outcome is Outcome.UNCHANGED
    assert stored(real_server, declared.name)["retryCount"] == 2


@pytest.mark.parametrize("connect", [with_rest, without_rest])
def test_one_with_integers_will_do_for_workers_that_declare_none(real_server: ServerAddress, connect: Any) -> None:
    declared = declaring(None)
    theirs = by_rest(real_server, declared.name, inputTemplate={"limit": 3})
    with connect(real_server) as registrar:
        assert registrar.register_declared(declared, overwrite=True).outcome is Outcome.UNCHANGED
    assert stored(real_server, declared.name) == theirs


def test_what_grpc_has_no_field_for_is_not_lost_without_a_word(real_server: ServerAddress) -> None:
    declared = declaring(TaskDefinition(owner_email="example@example.com", response_timeout_seconds=3600))
    schema = {"name": "of the input", "version": 1, "type": "JSON", "data": {"type": "object"}}
    by_rest(real_server, declared.name, inputSchema=schema, enforceSchema=True)
    with with_rest(real_server) as registrar:
        left = registrar.register_declared(declared)
    assert left.outcome is Outcome.DIFFERS
    assert [line.partition(":")[0] for line in left.lines()] == ["enforceSchema", "inputSchema"]


def test_a_base_url_that_leads_elsewhere_tells_nothing(real_server: ServerAddress) -> None:
    declared = declaring(TaskDefinition(retry_count=2))
    theirs = by_rest(real_server, declared.name, inputTemplate={"limit": 3})
    astray = Configuration(f"{real_server.base_url}/nothing/here", target=real_server.target)
    with Registrar(astray) as registrar:
        left = registrar.register_declared(declared)
        assert (left.outcome, "reading it by REST fails" in left.unreadable) == (Outcome.DIFFERS, True)
        assert registrar.register_declared(declaring(None)).outcome is Outcome.CREATED
    assert stored(real_server, declared.name) == theirs
