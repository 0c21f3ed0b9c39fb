"""Some hundred schedules, and proof that a bug in the loop does not get past them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc.poller import intake, planner, reclaim_rest
from conductor_grpc.poller.custody import Custody, Seen
from conductor_grpc.poller.intake import Intake
from conductor_grpc.poller.journal import Journal
from conductor_grpc.poller.lease import LeaseKeeper
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.outbox_extensions import Extensions
from conductor_grpc.poller.outbox_truth import Standing, Truth
from conductor_grpc.poller.parts import Parts
from conductor_grpc.poller.reclaim import Found
from conductor_grpc.poller.recovery import Recovery
from simulation.schedule import generate
from simulation.shrink import report
from simulation.world import run, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.poller.outbox_updates import Update
    from conductor_grpc.worker.task import Task

    Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.feature("Replay and chaos tests")
def test_nothing_is_lost_stranded_or_run_twice() -> None:
    for seed in range(600):
        schedule = generate(seed)
        if run(schedule):
            pytest.fail(report(schedule))


@pytest.mark.feature("Replay and chaos tests")
def test_the_same_seed_is_the_same_run() -> None:
    seeds = range(40)
    first = [(world.fired, world.loop.time()) for world in map(simulate, map(generate, seeds))]
    assert [(world.fired, world.loop.time()) for world in map(simulate, map(generate, seeds))] == first


def no_waiting_for_extensions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Extensions, "park", lambda *_: False)


def extensions_are_never_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseKeeper, "_supported", lambda *_: False)


def doubtful_extensions_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "_expect_undoing", lambda *_: None)


def losses_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "_look_for_losses", lambda self, **_: self._losses.clear())


def behind_a_backlog_nothing_is_found(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reclaim_rest._Look, "by_index", lambda *_: Found([], complete=True))


def looks_that_are_put_off_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reclaim_rest, "RATE", 2_000)
    patch.setattr(intake, "LOST_FOR_GOOD", 0.0)


def losses_are_looked_for_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake, "SETTLING", -planner.BACKOFF_LIMIT)


def custody_is_released_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    deliver = Parts.deliver

    def too_early(self: Parts, task: Task, *rest: Any) -> None:
        self.custody.release(task.task_id, task.poll_count)
        deliver(self, task, *rest)

    patch.setattr(Parts, "deliver", too_early)


def custody_is_not_watched(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def watch(self: Custody) -> Iterator[Seen]:
        yield Seen(self._held)  # type: ignore[arg-type]

    patch.setattr(Custody, "watch", watch)


def hand_backs_are_repeated_without_a_look(patch: pytest.MonkeyPatch) -> None:
    look = Truth.standing

    async def blindly(self: Truth, update: Update) -> Standing:
        return await look(self, update) if update.repeatable else Standing.OPEN

    patch.setattr(Truth, "standing", blindly)


def outcomes_are_not_journaled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "finished", lambda *_: None)


def earlier_worker_ids_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recovery, "_look", lambda *_: Found([], complete=True))


PLANTED = [
    no_waiting_for_extensions,
    extensions_are_never_sent,
    doubtful_extensions_are_forgotten,
    losses_are_forgotten,
    behind_a_backlog_nothing_is_found,
    looks_that_are_put_off_are_forgotten,
    losses_are_looked_for_too_early,
    custody_is_released_before_the_answer,
    custody_is_not_watched,
    hand_backs_are_repeated_without_a_look,
    outcomes_are_not_journaled,
    earlier_worker_ids_are_not_looked_at,
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(run(generate(seed)) for seed in range(3000))
