"""Wall clocks that jump."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from faults.row import Row

if TYPE_CHECKING:
    from faults.scene import Scene


def _jump(scene: Scene) -> None:
    """The worker's clock goes an hour ahead, then to an hour behind; each time its connections break, too."""
    network = scene.proxies()
    worker = scene.worker(network)
    scene.feed()
    signals = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2)
    for number, jump in enumerate(signals, 1):
        scene.when_done(scene.scale.tasks * number // (len(signals) + 1))
        worker.signal(jump)
        scene.until(lambda: worker.log.count("the clock jumped") == number, "a jump")  # noqa: B023
        network.grpc.reset()
    scene.fired(worker.log.count("the clock jumped"), "jumps by an hour")


ROWS = [Row("clock", "the worker's clock jumps by an hour", _jump, fires=3)]
