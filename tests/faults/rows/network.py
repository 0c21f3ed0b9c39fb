"""Networks that lose, hold back and cut."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from faults.proxy import Call, Plan
from faults.row import Row

if TYPE_CHECKING:
    from faults.scene import Network, Scene

LONGEST_CUT = 10
BETWEEN_CUTS = 0.1
FOUND_OUT = 31.0
"""Seconds until a worker has found out that a connection is half-open, and what was lost on it: fifteen of silence,
twelve for the answer to a ping, two for the server to end the poll, and a look."""


class PollsInFlight(Plan):
    """Knows whether a poll is under way."""

    def __init__(self) -> None:
        self.polling = threading.Event()

    def requested(self, call: Call) -> None:
        if call.method == "BatchPoll":
            self.polling.set()

    def ended(self, call: Call) -> None:
        if call.method == "BatchPoll":
            self.polling.clear()


class CutAfter(Plan):
    """Resets the connection behind the first message of a batch, then behind the second of another one, ..."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0.0
        self._wanted = 1
        self.cuts: Counter[int] = Counter()

    def answered(self, call: Call) -> bool:
        if call.method != "BatchPoll":
            return False
        now = time.monotonic()
        if call.messages != self._wanted or now < self._next or self.cuts.total() >= self._most:
            return False
        self.cuts[call.messages] += 1
        self._wanted = self._wanted % LONGEST_CUT + 1
        self._next = now + BETWEEN_CUTS
        return True


def _blackhole(scene: Scene, *, lossy: bool) -> None:
    plan = PollsInFlight()
    network = scene.proxies(plan)
    scene.worker(network)
    scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    assert plan.polling.wait(30), "no poll in flight"
    with scene.lasting("a blackhole" if lossy else "all was held back"):
        for proxy in network.all():
            proxy.swallow() if lossy else proxy.hold()
        time.sleep(0.5)
        before = scene.begun()
        time.sleep(scene.scale.blackhole)
        stood = scene.begun() - before <= 1 and scene.in_the_middle
        for proxy in network.all():
            proxy.resume()
    _count(scene, network, int(stood and (not lossy or network.grpc.swallowed > 0)), "blackholes mid-poll")


def _cut(scene: Scene) -> None:
    plan = CutAfter(most=max(4, min(40, scene.scale.tasks // 25)))
    network = scene.proxies(plan)
    scene.worker(network)
    # A backlog, so that polls bring whole batches.
    scene.feed(window=600)
    scene.when_done(scene.scale.tasks * 9 // 10)
    _count(scene, network, plan.cuts.total(), "resets")
    scene.outcome.notes.append(
        "after message " + ", ".join(f"{k} ({times}x)" for k, times in sorted(plan.cuts.items()))
    )


def _half_open(scene: Scene) -> None:
    network = scene.proxies()
    scene.worker(network)
    scene.feed()
    fired = 0
    for part in (1, 2):
        scene.when_done(scene.scale.tasks * part // 3, 400)
        swallowed = network.grpc.swallowed
        fired += network.grpc.half_open()
        scene.until(lambda: network.grpc.swallowed > swallowed, "something sent into the void")  # noqa: B023
    # Nothing tells the worker; only pings that are not answered do.
    scene.when_done(scene.scale.tasks * 3 // 4, 400)
    scene.outcome.notes.append(f"a task stood still for {scene.monitor.worst:.0f} s at most")
    _count(scene, network, fired, "connections without a server")


def _count(scene: Scene, network: Network, fired: int, what: str) -> None:
    scene.fired(fired, what)
    scene.outcome.wrong += [f"the proxy did not understand {text}" for proxy in network.all() for text in proxy.untold]


ROWS = [
    Row("blackhole", "blackhole {blackhole:.0f} s mid-poll", lambda scene: _blackhole(scene, lossy=True)),
    Row("hold", "everything held back {blackhole:.0f} s", lambda scene: _blackhole(scene, lossy=False)),
    Row("reset", "reset after the k-th message", _cut, fires=3),
    Row("half-open", f"half-open connections (bound: {FOUND_OUT:.0f} s)", _half_open, fires=2, idle=FOUND_OUT),
]
