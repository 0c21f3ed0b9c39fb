"""This process and this machine."""

from __future__ import annotations

import multiprocessing
import platform
import resource
from typing import TYPE_CHECKING, Any, Final

import google.protobuf
import grpc
from google.protobuf.internal import api_implementation

from conductor_grpc import payload
from conductor_grpc.doctor.finding import Finding, ok, warning
from conductor_grpc.worker.executor import executor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

_BASE: Final = 100
"""File descriptors of a process that does nothing yet: libraries, logs, connections to the server."""

_FOR_TASK: Final = 2
"""For a task that runs: a connection or a file of its own."""

_FOR_PROCESS: Final = 6
"""For a process that runs tasks: its pipes."""


def check(setup: Setup) -> Iterator[Finding]:
    """Needs no server."""
    wrong = [*_codec(), *_start_method(), *_descriptors(setup)]
    yield from wrong
    if not wrong:
        yield ok(
            "machine",
            f"Python {platform.python_version()}, grpcio {grpc.__version__}, protobuf {google.protobuf.__version__},"
            " native codec",
        )


def _codec() -> Iterator[Finding]:
    if not payload.Layout.__module__.endswith("_core"):
        yield warning(
            "machine.codec",
            "the codec is the Python one, which is about fifty times slower",
            "the native one",
            "unset CONDUCTOR_GRPC_PURE",
        )
    # Its stubs call it untyped.
    implementation: Any = api_implementation
    if implementation.Type() == "python":
        yield warning(
            "machine.protobuf",
            f"protobuf {google.protobuf.__version__} runs in Python, many times slower",
            "its native implementation (upb)",
            "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, or reinstall it from a wheel: pip install --force-reinstall"
            " protobuf",
        )


def _start_method() -> Iterator[Finding]:
    # None: nobody has chosen, and what this package starts it starts by "spawn".
    if multiprocessing.get_start_method(allow_none=True) == "fork":
        yield warning(
            "machine.fork",
            'multiprocessing was set to "fork"; a process forked while gRPC is in use hangs or aborts',
            '"spawn" or "forkserver"',
            'multiprocessing.set_start_method("spawn"), or leave the call out',
        )


def _descriptors(setup: Setup) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    slots = sum(worker.concurrency for worker in setup.workers)
    processes = sum(worker.concurrency for worker in setup.workers if executor_of(worker) == "process")
    needed = _BASE + _FOR_TASK * (slots - processes) + _FOR_PROCESS * processes
    if soft < needed:
        yield warning(
            "machine.files",
            f"this process may open {soft} files, and its workers have {slots} slots",
            f"{needed} or more: {_FOR_TASK} for each task that runs, {_FOR_PROCESS} for each process",
            f"ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit",
        )
