"""How busy that is which this process runs on: its control group where that has a limit, else the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.worker.slots.cgroup import CpuUse, groups_of_this_process

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL: Final = 0.5
"""Seconds over which the use of CPU is measured, at least."""


class Load(NamedTuple):
    """Shares of what there is, from 0 to about 1."""

    cpu: float
    memory: float


class MachineLoad:
    """Reads it from /proc and /sys, at most twice a second, which takes half a millisecond. Not thread-safe."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        """`root` is where `proc` and `sys` are.

        Raises:
            ConfigurationError: This is no Linux.
        """
        self._proc = root / "proc"
        self._clock = clock
        if not (self._proc / "stat").exists():
            raise ConfigurationError(
                f"{self._proc / 'stat'} is not there, and the load of a machine can be read on Linux only: give"
                " ResourceBasedSlots(load=...) a function that tells it, or the worker a concurrency alone"
            )
        self._groups = groups_of_this_process(root)
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._measured_at = -INTERVAL
        self._before: _Uses | None = None
        self._load: Load | None = None

    def __call__(self) -> Load | None:
        """That of the last half second or longer, up to now; None at the first call, before there is such a time.

        Raises:
            OSError, ValueError: A file of the kernel's cannot be read.
        """
        now = self._clock()
        elapsed = now - self._measured_at
        if elapsed >= INTERVAL:
            uses = _Uses(self._cpu(), [group.cpu() for group in self._groups])
            if self._before is not None:
                self._load = Load(uses.since(self._before, elapsed), self._memory())
            self._before, self._measured_at = uses, now
        return self._load

    def _cpu(self) -> CpuUse:
        """Of those CPUs that this process may run on."""
        allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        busy = cpus = 0
        for line in (self._proc / "stat").read_text().splitlines():
            name, *columns = line.split()
            if name in allowed:
                # user nice system idle iowait irq softirq steal; what follows is counted in these already
                user, nice, system, _, _, irq, softirq, steal = map(int, columns[:8])
                busy += user + nice + system + irq + softirq + steal
                cpus += 1
        if not cpus:
            raise ValueError(f"{self._proc / 'stat'} has none of the CPUs {sorted(allowed)}")
        return CpuUse(busy / self._ticks, cpus)

    def _memory(self) -> float:
        shares = [group.memory() for group in self._groups]
        return max((share for share in shares if share is not None), default=self._machine_memory())

    def _machine_memory(self) -> float:
        kilobytes = {}
        for line in (self._proc / "meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            kilobytes[name] = value
        total, available = (int(kilobytes[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return 1 - available / total


class _Uses(NamedTuple):
    """Of CPU time, so far."""

    machine: CpuUse
    groups: list[CpuUse | None]

    def since(self, before: _Uses, elapsed: float) -> float:
        """The share used in the `elapsed` seconds between: of the fullest group that has a limit, or of the machine."""
        limited = [
            _share(use, earlier, elapsed)
            for use, earlier in zip(self.groups, before.groups, strict=True)
            # A quota of more CPUs than there are is no limit.
            if use is not None and earlier is not None and use.cpus < self.machine.cpus
        ]
        return max(limited) if limited else _share(self.machine, before.machine, elapsed)


def _share(use: CpuUse, before: CpuUse, elapsed: float) -> float:
    return (use.seconds - before.seconds) / (use.cpus * elapsed)
