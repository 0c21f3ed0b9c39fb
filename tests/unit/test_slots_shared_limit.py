"""A limit that the workers of a poller share."""

from __future__ import annotations

import itertools
import math
import random
import threading
from typing import TYPE_CHECKING

import pytest
from slots_bench import Bench, Gates

from conductor_grpc import Configuration, ConfigurationError
from conductor_grpc.poller.slots.shared_limit import SharedLimit
from conductor_grpc.poller.slots.slots import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open_all()


def test_permits_of_polls_without_a_wait_count(gates: Gates) -> None:
    shared = SharedLimit(3)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    assert a.slots.reserve(2) == 2
    assert b.slots.reserve(100) == 1
    assert (a.slots.capacity, b.slots.capacity) == (2, 1)
    a.slots.settle(2, 0)
    assert (a.slots.capacity, b.slots.capacity) == (2, 3)
    assert a.slots.reserve(100) == 2


def test_idle_polls_leave_all_slots_to_others(gates: Gates) -> None:
    shared = SharedLimit(2)
    benches = [Bench(str(number), gates, shared, concurrency=10) for number in range(20)]
    assert [bench.slots.reserve(1, scout=True) for bench in benches] == [1] * 20
    busy = Bench("busy", gates, shared, concurrency=10)
    busy.poll("a", "b")
    gates.wait_begun("a", "b")
    assert shared.free == 0


def test_a_task_that_comes_when_no_slot_is_left_waits_for_one(gates: Gates) -> None:
    shared = SharedLimit(1)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    assert b.slots.reserve(1, scout=True) == 1
    a.poll("a1")
    gates.wait_begun("a1")
    b.arrive("b1")
    b.slots.settle(1, 1)
    assert (b.slots.running, b.slots.capacity) == (0, 0)
    gates.open("a1")
    gates.wait_begun("b1")
    assert gates.most[""] == 1


def test_no_poll_begins_while_no_slot_is_left(gates: Gates) -> None:
    shared = SharedLimit(1)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    a.poll("a1")
    waiting = b.reserving(scout=True), a.reserving(5)
    assert [each.got for each in waiting] == [None, None]
    gates.open("a1")
    assert [each.result() for each in waiting] == [1, 1], "the scout keeps nothing for itself"
    assert shared.free == 0


def test_slots_go_round(gates: Gates) -> None:
    """The one with a hundred tasks here does not keep another from its first."""
    shared = SharedLimit(1)
    a, b = (Bench(name, gates, shared, concurrency=200) for name in "ab")
    a.poll(*(f"a{number}" for number in range(100)), asked=1)
    waiting = b.reserving(5)
    gates.wait_begun("a0")
    gates.open("a0")
    gates.wait_begun("a1")
    assert waiting.got is None, "it came after the rest of those tasks"
    gates.open("a1")
    assert waiting.result() == 1
    b.arrive("b0")
    b.slots.settle(1, 1)
    gates.wait_begun("b0")
    assert gates.begun == ["a0", "a1", "b0"]
    gates.open("b0")
    gates.wait_begun("a2")
    gates.open_all()
    a.wait_delivered(*(f"a{number}" for number in range(100)))
    assert gates.most[""] == 1


def test_what_a_poll_has_not_brought_is_given_to_those_who_wait(gates: Gates) -> None:
    shared = SharedLimit(4)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    assert a.slots.reserve(4) == 4
    waiting = b.reserving(10)
    a.arrive("a1")
    a.slots.settle(4, 1)
    assert waiting.result() == 3


def test_what_was_given_to_one_that_is_closed_goes_on(gates: Gates) -> None:
    shared = SharedLimit(1)
    a, b, c = (Bench(name, gates, shared, concurrency=10) for name in "abc")
    a.poll("a1")
    gates.wait_begun("a1")
    b.arrive("b1")
    b.slots.settle(0, 1)
    first = b.reserving(5)
    second = c.reserving(5)
    b.slots.close()
    assert first.result() == 0
    gates.open("a1")
    assert second.result() == 1


def test_a_wait_that_has_timed_out_keeps_nothing(gates: Gates) -> None:
    shared = SharedLimit(1)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    a.poll("a1")
    gates.wait_begun("a1")
    assert b.slots.reserve(5, 0.01) == 0
    gates.open("a1")
    a.wait_delivered("a1")
    assert a.slots.reserve(5, 20) == 1


def test_nothing_is_kept_for_a_worker_whose_supplier_grants_it_no_more(gates: Gates) -> None:
    class Supplier:
        granted = 2

        def slots(self, use: object) -> int:
            del use
            return self.granted

    shared = SharedLimit(2)
    supplier = Supplier()
    a, b = Bench("a", gates, shared, concurrency=10, slots=supplier), Bench("b", gates, shared, concurrency=10)
    a.poll("a1")
    b.poll("b1")
    gates.wait_begun("a1", "b1")
    waiting = a.reserving(5)
    supplier.granted = 1
    gates.open("b1")
    b.wait_delivered("b1")
    assert b.slots.reserve(5, 20) == 1
    assert waiting.got is None


def test_what_waits_for_a_slot_of_its_own_worker_keeps_none_from_the_others(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.PATIENCE", 0.0)
    shared = SharedLimit(3)
    a, b = Bench("a", gates, shared, concurrency=1), Bench("b", gates, shared, concurrency=10)
    ids = "a1", "a2", "a3", "a4"
    a.arrive(*ids)
    a.slots.settle(0, 4)
    gates.wait_begun("a1")
    assert b.slots.reserve(10, 20) == 2
    assert a.slots.surplus() == [], "the limit is not what they wait for"
    b.arrive("b1", "b2")
    b.slots.settle(2, 2)
    for before, after in itertools.pairwise(ids):
        gates.open(before)
        gates.wait_begun(after)
    gates.open_all()
    a.wait_delivered(*ids)
    assert gates.most["a"] == 1


def test_tasks_that_wait_begin_when_more_is_granted(gates: Gates) -> None:
    class Supplier:
        granted = 1

        def slots(self, use: object) -> int:
            del use
            return self.granted

    supplier = Supplier()
    a = Bench("a", gates, SharedLimit(3), concurrency=10, slots=supplier)
    a.arrive("a1", "a2", "a3")
    a.slots.settle(0, 3)
    gates.wait_begun("a1")
    supplier.granted = 3
    assert a.slots.reserve(1, 0.01) == 0
    gates.wait_begun("a2", "a3")


def test_two_thousand_tasks_of_eight_workers_never_exceed_it_and_none_starves() -> None:
    """Polls that bring all, some, none or more than they asked for, by threads that get in each other's way."""
    shared, gates = SharedLimit(3), Gates(pause=0.0005)
    gates.open_all()
    benches = [Bench(f"w{number}", gates, shared, concurrency=number % 4 + 1) for number in range(8)]

    def feed(bench: Bench, number: int) -> None:
        chance = random.Random(number)
        sent = 0
        while sent < 250:
            scout = chance.random() < 0.3
            reserved = bench.slots.reserve(1 if scout else 100, 20, scout=scout)
            assert reserved, f"{number} starves"
            count = min(250 - sent, chance.choice((0, 1, reserved, reserved, reserved + 2)))
            bench.arrive(*(f"{number}-{sent + each}" for each in range(count)))
            bench.slots.settle(reserved, count)
            sent += count

    feeders = [threading.Thread(target=feed, args=(bench, number)) for number, bench in enumerate(benches)]
    for each in feeders:
        each.start()
    for each in feeders:
        each.join(60)
    for number, bench in enumerate(benches):
        bench.wait_delivered(*(f"{number}-{each}" for each in range(250)))
        assert bench.slots.wait_idle(20)
        assert len(bench.delivered) == 250
        assert not bench.deaths
        assert gates.most[f"w{number}"] <= number % 4 + 1
    assert gates.most[""] == 3
    assert shared.free == 3
    assert [bench.slots._used for bench in benches] == [0] * 8


@pytest.mark.parametrize("limit", [0, -1, 2.0, True, "3"])
def test_a_limit_that_cannot_work(limit: object) -> None:
    with pytest.raises(ConfigurationError, match=r"task_limit .*: expected a whole number >= 1"):
        Configuration(task_limit=limit)  # type: ignore[arg-type]


def test_what_has_waited_too_long_for_a_shared_slot_is_given_back(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedLimit(1)
    a, b = (Bench(name, gates, shared, concurrency=10) for name in "ab")
    a.poll("a1")
    gates.wait_begun("a1")
    assert (b.slots.until_surplus(), b.slots.surplus()) == (math.inf, [])
    b.arrive("b1", "b2")
    b.slots.settle(0, 2)
    assert 0 < b.slots.until_surplus() <= PATIENCE
    assert b.slots.surplus() == []
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.PATIENCE", 0.0)
    assert b.slots.until_surplus() == 0
    assert [task.task_id for task in b.slots.surplus()] == ["b1", "b2"]
    assert b.slots._used == 0
    gates.open("a1")
    a.wait_delivered("a1")
    b.poll("b3")
    gates.wait_begun("b3")
    assert gates.begun == ["a1", "b3"]


def test_without_a_shared_limit_tasks_wait_for_as_long_as_it_takes(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.PATIENCE", 0.0)
    bench = Bench("a", gates, concurrency=1)
    bench.poll("a1", "a2", asked=1)
    gates.wait_begun("a1")
    assert (bench.slots.until_surplus(), bench.slots.surplus()) == (math.inf, [])


def test_what_is_on_its_way_to_its_slot_is_not_given_back(gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.PATIENCE", 0.0)
    bench = Bench("a", gates, SharedLimit(1), concurrency=2)
    monkeypatch.setattr(bench.slots, "_begin", lambda: None)  # no thread has come for it yet
    bench.poll("a1", scout=True)
    assert bench.slots.surplus() == []
