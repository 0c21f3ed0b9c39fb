"""The generated stubs against the server's wire contract, both ways: nothing missing, nothing extra.

``wire_contract.json`` was taken from the server's own descriptors; ``test_reflection.py`` holds it against a
running server.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from conductor_grpc import pb

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT: dict[str, dict[str, str | int]] = json.loads(
    Path(__file__).with_name("wire_contract.json").read_text("utf-8")
)
FACTS = [(owner, name) for owner, members in CONTRACT.items() for name in members]
METHODS = [(owner, path) for owner, path in FACTS if owner.startswith("service ")]

Facts = dict[str, dict[str, "str | int"]]


def generated_modules(suffix: str) -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(pb.__path__, f"{pb.__name__}.")]
    return [importlib.import_module(name) for name in names if name.endswith(suffix)]


@pytest.fixture(scope="module")
def built(read_facts: Callable[..., Facts]) -> Facts:
    return read_facts(
        FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in generated_modules("_pb2")
    )


def test_the_reference_is_whole() -> None:
    """Guards the tests below, which are as many as the reference has facts."""
    counts = {
        kind: (
            sum(owner.startswith(f"{kind} ") for owner in CONTRACT),
            sum(owner.startswith(f"{kind} ") for owner, _ in FACTS),
        )
        for kind in ("package", "service", "message", "enum")
    }
    assert counts == {"package": (6, 6), "service": (4, 42), "message": (107, 397), "enum": (11, 45)}


@pytest.mark.parametrize(("owner", "name"), FACTS, ids=[f"{owner}: {name}" for owner, name in FACTS])
def test_fact(built: Facts, owner: str, name: str) -> None:
    assert built.get(owner, {}).get(name) == CONTRACT[owner][name]


def test_nothing_is_missing_or_extra(built: Facts) -> None:
    assert built.keys() == CONTRACT.keys()
    assert {owner: set(members) for owner, members in built.items()} == {
        owner: set(members) for owner, members in CONTRACT.items()
    }


class RecordingChannel:
    """Stands where a stub expects its channel and notes which calls the stub would make on it."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[str, str]] = {}

    def __getattr__(self, arity: str) -> Callable[..., SimpleNamespace]:
        def multicallable(path: str, **codecs: Callable[[bytes], object]) -> SimpleNamespace:
            response = codecs["response_deserializer"].__self__  # type: ignore[attr-defined]
            self.calls[path] = (arity, response.DESCRIPTOR.full_name)
            return SimpleNamespace(path=path)

        return multicallable


@pytest.fixture(scope="module")
def stub_calls() -> dict[str, tuple[str, str]]:
    channel = RecordingChannel()
    for module in generated_modules("_pb2_grpc"):
        for name, kind in vars(module).items():
            if name.endswith("Stub"):
                kind(channel)
    return channel.calls


@pytest.mark.parametrize(("service", "path"), METHODS, ids=[path for _, path in METHODS])
@pytest.mark.bug("python-sdk#387")
def test_stub_calls_the_method(stub_calls: dict[str, tuple[str, str]], service: str, path: str) -> None:
    arity, response = stub_calls[path]
    stream = "stream " if arity == "unary_stream" else ""
    assert arity in {"unary_unary", "unary_stream"}
    assert str(CONTRACT[service][path]).endswith(f"returns ({stream}{response})")


def test_stubs_call_nothing_else(stub_calls: dict[str, tuple[str, str]]) -> None:
    assert set(stub_calls) == {path for _, path in METHODS}
