"""What runs a worker's tasks, and the permits that keep the poller from taking more than it can run."""

from typing import TYPE_CHECKING

from conductor_grpc.poller.slots.run import Run
from conductor_grpc.poller.slots.slots import Slots, SlotsHooks
from conductor_grpc.poller.slots.threads import ThreadSlots

if TYPE_CHECKING:
    from conductor_grpc.poller.slots.run import Outcome as Outcome
    from conductor_grpc.poller.slots.run import Runner as Runner

__all__ = ["Run", "Slots", "SlotsHooks", "ThreadSlots"]
