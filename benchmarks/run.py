"""One run: one client against work that was started beforehand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.process_cpu import Sampler
from benchmarks.workload import VoidRunError, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from conductor_grpc import Configuration

SLOWEST = 10.0
"""Tasks per second below which a client counts as stuck."""

_START_UP = 60.0
_LOOK_EVERY = 0.25
_SETTLING = 10.0
_ENDING = 15.0


@dataclass(frozen=True)
class Contender:
    """A client to be measured."""

    name: str
    command: Sequence[str]
    """Program and arguments; the task type and the concurrency are added."""
    concurrency: int
    environment: Mapping[str, str]
    """Added to that of this process."""


@dataclass(frozen=True)
class Measurement:
    """What one run came to, from the end of the warm-up to the last task acknowledged."""

    tasks: int
    """How many tasks were acknowledged in that time."""
    seconds: float
    client_cpu: float
    """CPU seconds of all processes of the client."""
    server_cpu: float
    """CPU seconds of the server, its own background work included."""
    load: float
    """The machine's load average over the last minute, at the end."""

    @property
    def tasks_per_second(self) -> float:
        return self.tasks / self.seconds

    @property
    def client_ms_per_task(self) -> float:
        return self.client_cpu / self.tasks * 1000

    @property
    def server_ms_per_task(self) -> float:
        return self.server_cpu / self.tasks * 1000


def measure(
    contender: Contender,
    task_type: str,
    configuration: Configuration,
    server_pid: int,
    tasks: int,
    warm_up: int,
    progress: Callable[[int], None],
) -> Measurement:
    """Start `warm_up + tasks` workflows, let the client do them all, and measure those after the warm-up.

    The client is watched from outside only: its CPU time is sampled, and the server's own record of when it
    took each result tells how many tasks lie between two samples. So nothing is added to any client's loop, and
    every client is measured alike. `progress` gets 2 steps for each task: started and done.

    Raises VoidRunError if the client died or got stuck, or a workflow is not COMPLETED afterwards.
    """
    workload = Workload(configuration, task_type)
    workload.prepare(warm_up + tasks, progress)
    with tempfile.TemporaryFile() as log, running(contender, task_type, configuration, log) as client:
        with Sampler(client.pid, server_pid) as sampler:
            wait_until_done(client, workload, warm_up + tasks, progress, log)
            ends = _acknowledged(workload)
            time.sleep(2 * Sampler.PERIOD)
        load = os.getloadavg()[0]
    begin = sampler.first_at_or_after(ends[warm_up - 1])
    end = sampler.first_at_or_after(ends[-1])
    counted = sum(moment > begin.at for moment in ends)
    if counted < tasks // 2:
        raise VoidRunError(f"only {counted} of {tasks} tasks came after the warm-up: start more")
    return Measurement(counted, ends[-1] - begin.at, end.client - begin.client, end.server - begin.server, load)


def wait_until_done(
    client: subprocess.Popen[bytes], workload: Workload, total: int, progress: Callable[[int], None], log: BinaryIO
) -> None:
    """Block until the queue of `total` tasks is empty. `progress` gets each that has left it.

    Raises VoidRunError if the client died or got stuck.
    """
    deadline = time.monotonic() + _START_UP + total / SLOWEST
    left = total
    while left:
        time.sleep(_LOOK_EVERY)
        if client.poll() is not None:
            raise VoidRunError(f"the client ended with exit code {client.returncode}: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise VoidRunError(f"{left} of {total} tasks are still in the queue: {_last_line(log)}")
        now_left = min(left, workload.left())
        progress(left - now_left)
        left = now_left


def _acknowledged(workload: Workload) -> list[float]:
    # A task leaves its queue a moment before its workflow is complete.
    deadline = time.monotonic() + _SETTLING
    while time.monotonic() < deadline:
        with contextlib.suppress(VoidRunError):
            return workload.acknowledged()
        time.sleep(_LOOK_EVERY)
    return workload.acknowledged()


@contextlib.contextmanager
def running(
    contender: Contender, task_type: str, configuration: Configuration, log: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """The client as a process that does tasks of this type; what it prints goes to `log`."""
    client = subprocess.Popen(
        [*contender.command, task_type, str(contender.concurrency)],
        env={
            **os.environ,
            **contender.environment,
            "CONDUCTOR_GRPC_TARGET": configuration.target,
            "CONDUCTOR_SERVER_URL": configuration.base_url or "",
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield client
    finally:
        _end(client)


def _end(client: subprocess.Popen[bytes]) -> None:
    """End the client's whole process group: conductor-python leaves its workers behind when its parent process ends.

    First in order, for Python's resource tracker, which outlives the others for a moment, to remove what they shared.
    """
    deadline = time.monotonic() + _ENDING
    with contextlib.suppress(ProcessLookupError):
        os.killpg(client.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            client.poll()
            os.killpg(client.pid, 0)  # raises once nobody is left
            time.sleep(_LOOK_EVERY)
        os.killpg(client.pid, signal.SIGKILL)
    client.wait()


def _last_line(log: BinaryIO) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it has printed nothing")
