"""The CPU time of a process and all its descendants, read from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process, threads that have ended included, to the nanosecond.

    /proc/PID/stat has the same sum in steps of 10 ms, too coarse for a run of half a second.

    Raises ProcessLookupError if there is no such process.
    """
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(ctypes.c_int(pid), ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error), pid)
    return time.clock_gettime(clock.value)


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended since it was listed
                found += map(int, thread.read_text().split())
    return found


@dataclass(frozen=True)
class Sample:
    """What had been used at one moment."""

    at: float
    """Seconds since the epoch."""
    client: float
    """CPU seconds of the client's processes so far."""
    server: float
    """CPU seconds of the server so far."""


class Sampler:
    """Takes a sample of the client's and the server's CPU time every `PERIOD` seconds. Context manager.

    Descendants that have ended count with what they had at their last sample.
    """

    PERIOD: Final = 0.02
    _FAMILY_EVERY: Final = 25
    """Looks for new descendants only at every so many samples: it reads a file for each of their threads."""

    def __init__(self, client_pid: int, server_pid: int) -> None:
        self._client_pid = client_pid
        self._server_pid = server_pid
        self._used: dict[int, float] = {}
        self._samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def first_at_or_after(self, moment: float) -> Sample:
        """The first sample taken at or after `moment`, in seconds since the epoch; once the block has ended.

        Raises LookupError if the sampling ended before.
        """
        index = bisect_left(self._samples, moment, key=lambda sample: sample.at)
        if index == len(self._samples):
            raise LookupError(f"{len(self._samples)} samples were taken, none at or after {moment}")
        return self._samples[index]

    def _run(self) -> None:
        pids: list[int] = []
        while not self._ended.wait(self.PERIOD):
            if len(self._samples) % self._FAMILY_EVERY == 0:
                pids = family(self._client_pid)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    self._used[pid] = cpu_seconds(pid)
            try:
                server = cpu_seconds(self._server_pid)
            except ProcessLookupError:
                return  # the run finds its workflows unreadable
            self._samples.append(Sample(time.time(), sum(self._used.values()), server))
