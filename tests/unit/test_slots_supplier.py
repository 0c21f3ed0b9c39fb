"""A worker's slot supplier, asked by the permits of its poller."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from slots_bench import Bench, Gates
from waiting import wait_for

from conductor_grpc import ConfigurationError, FixedSlots, SlotSupplier, SlotUse, WorkerDefinitionError
from conductor_grpc.poller.slots import allowance

if TYPE_CHECKING:
    from collections.abc import Iterator


class Supplier:
    """Answers what the test has set, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[SlotUse] = []

    def slots(self, use: SlotUse) -> int:
        self.asked.append(use)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open_all()


def test_what_is_granted_is_the_number_of_permits(gates: Gates) -> None:
    supplier = Supplier(3)
    bench = Bench("work", gates, concurrency=10, slots=supplier)
    assert bench.slots.reserve(100, 20) == 3
    bench.slots.settle(3, 0)
    supplier.answer = 5
    assert bench.slots.reserve(100) == 5
    assert bench.slots.reserve(100, 0) == 0


def test_concurrency_is_the_most_whatever_is_granted(gates: Gates) -> None:
    bench = Bench("work", gates, concurrency=4, slots=Supplier(1_000))
    assert bench.slots.reserve(100) == 4


@pytest.mark.parametrize("answer", [0, -7])
def test_there_is_one_slot_whatever_is_granted(gates: Gates, answer: int, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("work", gates, concurrency=4, slots=Supplier(answer))
    assert bench.slots.reserve(100, 20) == 1
    assert not caplog.records


def test_what_a_supplier_is_told(gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(allowance, "time", SimpleNamespace(monotonic=lambda: now))
    supplier = Supplier(3)
    asked = allowance.Allowance(Bench("work", gates, concurrency=9, slots=supplier).slots._worker)
    assert [asked.ask(used) for used in (0, 2, 1)] == [3, 3, 3]
    now = 10.5
    asked.ask(1)
    now = 21.0
    asked.ask(0)
    now = 50.0
    asked.ask(0)
    assert [use[0] for use in supplier.asked] == ["work"] * 6
    assert [use.used for use in supplier.asked] == [0, 2, 1, 1, 0, 0]
    assert [use.granted for use in supplier.asked] == [1, 3, 3, 3, 3, 3]
    assert [use.peak for use in supplier.asked] == [0, 2, 2, 2, 1, 0]
    assert {use.maximum for use in supplier.asked} == {9}


@pytest.mark.feature("Slot suppliers, tuning by resources")
def test_a_poll_waits_until_more_is_granted(gates: Gates) -> None:
    supplier = Supplier(1)
    bench = Bench("work", gates, concurrency=4, slots=supplier)
    bench.poll("a")
    waiting = bench.reserving()
    supplier.answer = 2
    assert waiting.result() == 1
    assert gates.begun == ["a"]


def test_a_supplier_is_not_asked_all_the_time_meanwhile(gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.ASK_AGAIN", 60.0)
    supplier = Supplier(1)
    bench = Bench("work", gates, concurrency=4, slots=supplier)
    bench.poll("a")
    waiting = bench.reserving()
    wait_for(lambda: len(supplier.asked) == 2)
    gates.open("a")
    assert waiting.result() == 1
    assert len(supplier.asked) == 3, "again when a slot is free, but not before"


def test_a_slot_that_is_free_again_is_not_used_where_fewer_are_granted(gates: Gates) -> None:
    supplier = Supplier(2)
    bench = Bench("work", gates, concurrency=4, slots=supplier)
    bench.poll("a", "b")
    waiting = bench.reserving()
    supplier.answer = 1
    wait_for(lambda: supplier.asked[-1].granted == 1)
    gates.open("a")
    bench.wait_delivered("a")
    asked = len(supplier.asked)
    wait_for(lambda: len(supplier.asked) > asked + 1)
    assert waiting.got is None
    gates.open("b")
    assert waiting.result() == 1


def test_tasks_beyond_the_permits_wait_for_what_is_granted(gates: Gates) -> None:
    supplier = Supplier(1)
    bench = Bench("work", gates, concurrency=10, slots=supplier)
    bench.poll("a", "b", "c", "d", asked=1)
    gates.wait_begun("a")
    assert bench.slots.running == 1
    waiting = bench.reserving()
    supplier.answer = 3
    gates.wait_begun("a", "b", "c")
    assert (bench.slots.running, waiting.got) == (3, None)
    gates.open("a")
    gates.wait_begun("d")
    gates.open("b", "c", "d")
    assert waiting.result() == 1
    assert gates.most["work"] == 3


def test_close_ends_a_wait_for_more(gates: Gates) -> None:
    bench = Bench("work", gates, concurrency=4, slots=Supplier(1))
    bench.poll("a")
    waiting = bench.reserving()
    bench.slots.close()
    assert waiting.result() == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RuntimeError("no gauge"), "raised RuntimeError: no gauge: the worker goes on with 1 slot"),
        (None, "answered None, expected a whole number: the worker goes on with 1 slot"),
        (2.5, "answered 2.5, expected a whole number"),
        (True, "answered True, expected a whole number"),
        ("4", "answered '4', expected a whole number"),
    ],
)
def test_a_supplier_that_gives_no_answer_is_told_of_once_a_minute(
    gates: Gates, answer: Any, said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = Supplier(answer)
    bench = Bench("work", gates, concurrency=4, slots=supplier)
    for _ in range(3):
        assert bench.slots.reserve(100, 20) == 1
        bench.slots.settle(1, 0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert said in record.getMessage()
    assert "of worker 'work'" in record.getMessage()
    monkeypatch.setattr(allowance, "TELL_AGAIN", 0.0)
    bench.slots._allowance._tell_at = 0.0
    supplier.answer = 3
    assert bench.slots.reserve(100, 20) == 3, "it is heard again as soon as it speaks"
    assert len(caplog.records) == 1


def test_a_supplier_and_a_concurrency_of_one_are_told_of(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    Bench("work", gates, slots=Supplier(5))
    assert "has nothing to decide since the worker's concurrency is 1" in caplog.text


def test_fixed_slots_within_the_concurrency(gates: Gates) -> None:
    assert Bench("work", gates, concurrency=4, slots=FixedSlots(3)).slots.reserve(100, 20) == 3
    assert Bench("work", gates, concurrency=4, slots=FixedSlots(9)).slots.reserve(100) == 4
    assert isinstance(FixedSlots(3), SlotSupplier)
    assert FixedSlots(3).slots(SlotUse("t", 0, 1, 0, 4)) == 3


@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
def test_fixed_slots_that_cannot_work(count: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"FixedSlots: count .*: expected a whole number >= 1"):
        FixedSlots(count)


@pytest.mark.parametrize("slots", [5, "many", object(), Supplier, FixedSlots])
def test_slots_that_are_no_supplier(gates: Gates, slots: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"worker 'work' has slots .*, expected an object with a method"):
        Bench("work", gates, concurrency=4, slots=slots)
