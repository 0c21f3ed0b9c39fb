"""As many slots as the machine bears."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.worker.slots.machine_load import MachineLoad
from conductor_grpc.worker.slots.supplier import check_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.slots.machine_load import Load
    from conductor_grpc.worker.slots.supplier import SlotUse


class ResourceBasedSlots:
    """A slot supplier: one more slot while CPU and memory are below their targets, none more above.

    Slots that a worker has had in use within the last ten seconds or so count as borne, and are free to be used again
    at once. Beyond them there is one more every `ramp` seconds, so that what the last one costs is seen before the
    next; above a target those that are in use are what is borne. Workers that share one object share its ramp: one
    more slot for any of them. Thread-safe; can be pickled unless `load` cannot.
    """

    def __init__(
        self,
        minimum: int = 1,
        *,
        target_cpu: float = 0.8,
        target_memory: float = 0.8,
        ramp: float = 0.25,
        load: Callable[[], Load | None] | None = None,
    ) -> None:
        """
        Args:
            minimum: Slots that a worker has whatever the load, at least 1. The most are its `concurrency`.
            target_cpu: From here on there are no more; more than 0, at most 1. CPU time of the whole control group, if
                it has a limit, else of the machine, as a share of what there is.
            target_memory: The same for memory, without what the kernel can free at once.
            ramp: Seconds, at least 0.
            load: Tells the load at this moment, None if it is not known; must not block. Default: `MachineLoad()`.

        Raises:
            ConfigurationError: One of them cannot work, or this is no Linux and `load` is not given.
        """
        check_count("ResourceBasedSlots: minimum", minimum)
        for name, target in (("target_cpu", target_cpu), ("target_memory", target_memory)):
            if not _is_number(target) or not 0 < target <= 1:
                raise ConfigurationError(
                    f"ResourceBasedSlots: {name} {target!r}: expected a share, more than 0 and at most 1, such as 0.8"
                )
        if not _is_number(ramp) or not 0 <= ramp < math.inf:
            raise ConfigurationError(f"ResourceBasedSlots: ramp {ramp!r}: expected seconds, a finite number >= 0")
        if load is not None and not callable(load):
            raise ConfigurationError(
                f"ResourceBasedSlots: load {load!r}: expected a function that returns a Load, or None"
            )
        self.minimum = minimum
        self.target_cpu = target_cpu
        self.target_memory = target_memory
        self.ramp = ramp
        self._given_load = load
        self._load = MachineLoad() if load is None else load
        self._lock = threading.Lock()
        self._next_at = -math.inf

    def slots(self, use: SlotUse) -> int:
        with self._lock:
            load = self._load()
            borne = max(self.minimum, min(use.granted, use.peak + 1))
            if load is None or load.cpu >= self.target_cpu or load.memory >= self.target_memory:
                return max(self.minimum, min(borne, use.used))
            now = time.monotonic()
            if use.used < borne or borne >= use.maximum or now < self._next_at:
                return borne
            self._next_at = now + self.ramp
            return borne + 1

    def __repr__(self) -> str:
        return (
            f"ResourceBasedSlots({self.minimum}, target_cpu={self.target_cpu}, target_memory={self.target_memory},"
            f" ramp={self.ramp})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {
            "minimum": self.minimum,
            "target_cpu": self.target_cpu,
            "target_memory": self.target_memory,
            "ramp": self.ramp,
            "load": self._given_load,
        }
        return _from_settings, (settings,)


def _from_settings(settings: dict[str, Any]) -> ResourceBasedSlots:
    return ResourceBasedSlots(**settings)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
