"""What runs a worker's tasks, and the permits that keep the poller from taking more than it can run."""

from typing import TYPE_CHECKING

from conductor_grpc.poller.slots.coroutines import AsyncSlots
from conductor_grpc.poller.slots.event_loop import EventLoop
from conductor_grpc.poller.slots.factory import Executors
from conductor_grpc.poller.slots.processes import ProcessRunner
from conductor_grpc.poller.slots.run import Run
from conductor_grpc.poller.slots.slots import ABANDONED, Slots, SlotsHooks
from conductor_grpc.poller.slots.threads import ThreadSlots

if TYPE_CHECKING:
    from conductor_grpc.poller.slots.run import Outcome as Outcome
    from conductor_grpc.poller.slots.run import Runner as Runner

__all__ = [
    "ABANDONED",
    "AsyncSlots",
    "EventLoop",
    "Executors",
    "ProcessRunner",
    "Run",
    "Slots",
    "SlotsHooks",
    "ThreadSlots",
]
