from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import grpc
import pytest

from conductor_grpc import errors
from conductor_grpc.errors import (
    ConductorError,
    DefinitionError,
    ErrorKind,
    InputError,
    NonRetryableError,
    NotFoundError,
    PayloadEncodeError,
    ServerError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def subclasses(root: type[ConductorError]) -> Iterator[type[ConductorError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from subclasses(child)


def make(cls: type[ConductorError]) -> ConductorError:
    if issubclass(cls, ServerError):
        return cls(
            "no such task",
            code=grpc.StatusCode.INTERNAL,
            method="TaskService/GetTask",
            details="No such task",
            exception_class="NotFoundException",
        )
    if issubclass(cls, InputError):
        return cls("amount", "expected a number, got 'x'")
    if issubclass(cls, (DefinitionError, errors.PayloadError)):
        return cls("not a number", "tasks[1].name")
    if issubclass(cls, WaitTimeoutError):
        return cls("still running", workflow_id="w-1")
    return cls("went wrong")


@pytest.mark.parametrize("cls", list(subclasses(ConductorError)), ids=lambda cls: cls.__name__)
def test_every_error_survives_pickling_with_its_attributes(cls: type[ConductorError]) -> None:
    error = make(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)


class OutOfStockError(NonRetryableError):
    """A user's own error, with a constructor that its `args` do not fit."""

    def __init__(self, *, item: str, wanted: int) -> None:
        super().__init__(f"{wanted} of {item}")
        self.item = item
        self.wanted = wanted


def test_a_users_own_subclass_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(OutOfStockError(item="nuts", wanted=7)))
    assert (str(copy), copy.item, copy.wanted) == ("7 of nuts", "nuts", 7)


def test_every_kind_has_exactly_one_leaf() -> None:
    # What is below these says more of the reason; its kind is that of its base.
    leaves = ServerError.__subclasses__()
    assert sorted(leaf.kind.value for leaf in leaves) == sorted(kind.value for kind in ErrorKind)


def test_the_first_paragraph_of_the_docstring_is_the_default_message() -> None:
    assert str(NotFoundError(code=grpc.StatusCode.NOT_FOUND)) == (
        "The server knows no such workflow, task or definition."
    )
    assert "\n" not in str(errors.ForkedChannelError())
    assert str(NonRetryableError("")) == ""


def test_a_path_is_named_once() -> None:
    assert str(PayloadEncodeError("NaN is not JSON", "output.x[1]")) == "output.x[1]: NaN is not JSON"
    assert str(PayloadEncodeError("output.x[1] is NaN", "output.x[1]")) == "output.x[1] is NaN"
    assert str(InputError("amount", "is missing")) == "amount: is missing"


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert {kind.value for kind in ErrorKind if kind.retryable} == {"unavailable", "throttled", "transient"}
