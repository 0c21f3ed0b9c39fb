"""Tasks that take longer than their response timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from faults.proxy import Call, Plan
from faults.row import Row

if TYPE_CHECKING:
    from faults.scene import Scene

TIMEOUT = 4
SECONDS = 6.0
CONCURRENCY = 200


class Extensions(Plan):
    """Counts the updates that extend a lease."""

    def __init__(self) -> None:
        self.extended: set[str] = set()
        self.count = 0

    def requested(self, call: Call) -> None:
        if call.method == "UpdateTask":
            result = UpdateTaskRequest.FromString(call.request).result
            if result.extend_lease:
                self.count += 1
                self.extended.add(result.task_id)


def _extend(scene: Scene) -> None:
    plan = Extensions()
    network = scene.proxies(plan)
    total = scene.scale.leased
    scene.worker(network, seconds=SECONDS, concurrency=min(CONCURRENCY, total))
    scene.feed(total, window=2 * CONCURRENCY)
    scene.when_done(total * 9 // 10, 900)
    scene.fired(plan.count, f"extensions of {len(plan.extended)} tasks")
    scene.outcome.wrong += [f"the proxy did not understand {text}" for text in network.grpc.untold]


ROWS = [
    Row(
        "leases",
        "lease extension under load",
        _extend,
        fires=20,
        definition={"responseTimeoutSeconds": TIMEOUT, "retryCount": 3},
    )
]
