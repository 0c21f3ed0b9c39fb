"""Cancellation in C++: the flag, its capsule, and how a function of an extension of one's own takes it."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_for

from conductor_grpc import Cancellation, TaskCancelledError, get_include
from conductor_grpc._core import CancellationFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = Path(__file__).parents[2] / "cpp" / "tests" / "cancellable.cpp"


@pytest.fixture(scope="module")
def cancellable(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """cancellable.cpp, compiled by nothing but the headers of this package and of pybind11."""
    library = tmp_path_factory.mktemp("cancellable") / f"cancellable{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = subprocess.run(
        [sys.executable, "-m", "pybind11", "--includes"], check=True, capture_output=True, text=True
    )
    compiler = [
        *shlex.split(os.environ.get("CXX", "c++")),
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
    ]
    headers = [*shlex.split(includes.stdout), f"-I{get_include()}"]
    built = subprocess.run(
        [*compiler, *headers, str(SOURCE), "-o", str(library)], check=False, capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stderr
    spec = importlib.util.spec_from_file_location("cancellable", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def flag_itself(flag: CancellationFlag) -> object:
    return flag


def with_attribute(flag: CancellationFlag) -> object:
    return SimpleNamespace(flag=flag)


def test_a_flag_is_set_for_good() -> None:
    flag = CancellationFlag()
    assert not flag.is_set()
    flag.set()
    flag.set()
    assert flag.is_set()


def test_the_capsule_is_the_address_of_the_flag_and_keeps_it_alive() -> None:
    address_in = ctypes.pythonapi.PyCapsule_GetPointer
    address_in.restype, address_in.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    flag = CancellationFlag()
    capsule, alive = flag.capsule, weakref.ref(flag)
    byte = ctypes.c_ubyte.from_address(address_in(capsule, b"conductor_grpc.cancellation"))
    assert byte.value == 0
    flag.set()
    assert byte.value == 1
    del flag
    gc.collect()
    assert alive() is not None
    del capsule
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("wrapped", [flag_itself, with_attribute])
def test_a_loop_without_the_interpreters_lock_ends_when_the_flag_is_set(
    cancellable: Any, pool: ThreadPoolExecutor, wrapped: Callable[[CancellationFlag], object]
) -> None:
    flag = CancellationFlag()
    ended = pool.submit(cancellable.loop, wrapped(flag))
    wait_for(lambda: cancellable.loops() == 1)
    flag.set()
    assert ended.result(timeout=10)


@pytest.mark.feature("Cancellation reaches the worker")
def test_the_cancellation_of_a_task_ends_it_with_the_errors_class(cancellable: Any, pool: ThreadPoolExecutor) -> None:
    cancellation = Cancellation()
    ended = pool.submit(cancellable.loop_or_throw, cancellation)
    wait_for(lambda: cancellable.loops() == 1)
    cancellation.set("the test says so")
    with pytest.raises(TaskCancelledError, match="the task was cancelled while it ran"):
        ended.result(timeout=10)


def test_one_flag_ends_many_loops_and_another_none(cancellable: Any, pool: ThreadPoolExecutor) -> None:
    flag, other = CancellationFlag(), CancellationFlag()
    loops = [pool.submit(cancellable.loop, flag) for _ in range(3)]
    stays = pool.submit(cancellable.loop, other)
    wait_for(lambda: cancellable.loops() == 4)
    flag.set()
    assert all(ended.result(timeout=10) for ended in loops)
    assert cancellable.loops() == 1
    other.set()
    assert stays.result(timeout=10)


@pytest.mark.parametrize("function", ["loop", "loop_if_any"])
def test_a_flag_that_only_the_call_holds_lives_until_it_returns(
    cancellable: Any, pool: ThreadPoolExecutor, function: str
) -> None:
    made: list[weakref.ref[CancellationFlag]] = []

    class Fresh:
        @property
        def flag(self) -> CancellationFlag:
            flag = CancellationFlag()
            made.append(weakref.ref(flag))
            return flag

    ended = pool.submit(getattr(cancellable, function), Fresh())
    wait_for(lambda: cancellable.loops() == 1)
    gc.collect()
    held = [flag for flag in (reference() for reference in made) if flag is not None]
    assert held, "the flag died while the function looked at it"
    for flag in held:
        flag.set()
    del flag, held
    assert ended.result(timeout=10)
    gc.collect()
    assert [reference() for reference in made] == [None] * len(made)


def test_none_and_no_argument_are_never_cancelled(cancellable: Any) -> None:
    assert not cancellable.cancelled(None)
    assert not cancellable.cancelled()


@pytest.mark.parametrize("value", ["stop", 1, True, object(), SimpleNamespace(flag=None), SimpleNamespace(capsule=7)])
def test_anything_else_is_refused_by_name(cancellable: Any, value: object) -> None:
    with pytest.raises(TypeError) as refused:
        cancellable.cancelled(value)
    message = str(refused.value)
    assert message.startswith(f"the cancellation is {value!r} of type {type(value).__name__}, expected ")
    assert message.endswith(": pass current_task().cancelled")


def test_a_capsule_of_another_name_is_refused(cancellable: Any) -> None:
    foreign = vars(datetime)["datetime_CAPI"]
    with pytest.raises(TypeError, match=r"expected a conductor_grpc\.Cancellation"):
        cancellable.cancelled(SimpleNamespace(capsule=foreign))


def test_overloads_are_tried_before_anything_is_refused(cancellable: Any) -> None:
    assert cancellable.overloaded("text") == "text"
    assert cancellable.overloaded(CancellationFlag()) == "cancellation"


def test_an_error_of_the_attribute_is_not_lost(cancellable: Any) -> None:
    class Broken:
        @property
        def flag(self) -> CancellationFlag:
            raise LookupError("no flag today")

    with pytest.raises(LookupError, match="no flag today"):
        cancellable.cancelled(Broken())


def test_a_cast_within_a_function_takes_the_same(cancellable: Any) -> None:
    flag = CancellationFlag()
    assert not cancellable.kept(flag)
    flag.set()
    assert cancellable.kept(flag)


def test_the_signature_says_what_is_taken(cancellable: Any) -> None:
    assert "cancellation: conductor_grpc._core.CancellationFlag | None" in cancellable.loop.__doc__
