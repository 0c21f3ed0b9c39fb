"""Updates and polls that fail, or are answered too late."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from faults.proxy import Call, Fate, Plan
from faults.row import Row

if TYPE_CHECKING:
    from faults.scene import Scene

SHARE = 0.05
FATES = ("refused", "answer lost", "late")


class Unreliable(Plan):
    """A share of the calls fails: before the server has seen them, after it has done them, or by its slowness."""

    def __init__(self, methods: tuple[str, ...], share: float, late: float, seed: int = 1) -> None:
        """`late` is after how many seconds a late answer comes; 0: none is late."""
        self._methods = methods
        self._share = share
        self._late = late
        self._random = random.Random(seed)
        self.fates: Counter[str] = Counter()
        self.calls = 0

    def requested(self, call: Call) -> None:
        if call.method not in self._methods:
            return
        self.calls += 1
        if self._random.random() >= self._share:
            return
        fate = self._random.choice(FATES if self._late else FATES[:2])
        self.fates[f"{call.method} {fate}"] += 1
        if fate == "refused":
            call.fate = Fate.REFUSED
        elif fate == "answer lost":
            call.fate = Fate.ANSWER_LOST
        else:
            call.delay = self._late


def _updates(scene: Scene) -> None:
    plan = Unreliable(("UpdateTask",), SHARE, scene.scale.update_timeout * 1.3)
    run_unreliable(scene, plan)


def _polls(scene: Scene) -> None:
    run_unreliable(scene, Unreliable(("BatchPoll",), SHARE, late=0))


def run_unreliable(scene: Scene, plan: Unreliable, **settings: Any) -> None:
    """Run all tasks of the scene over a network with this plan."""
    network = scene.proxies(plan)
    scene.worker(network, update_timeout=scene.scale.update_timeout, **settings)
    scene.feed()
    scene.when_done(scene.scale.tasks * 9 // 10, max(600.0, scene.scale.tasks / 10))
    scene.fired(plan.fates.total(), "calls failed")
    fates = ", ".join(f"{number} {fate}" for fate, number in sorted(plan.fates.items()))
    scene.outcome.notes.append(f"of {plan.calls} calls: {fates}")
    scene.outcome.wrong += [f"the proxy did not understand {text}" for text in network.grpc.untold]


ROWS = [
    Row("updates", "UpdateTask fails or is late, 5 %", _updates, fires=3),
    Row("polls", "BatchPoll fails, 5 %", _polls),
]
