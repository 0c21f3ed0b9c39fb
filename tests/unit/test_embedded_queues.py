"""The embedded server's task queues, and the turns of the polls that wait at them."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from embedded_records import a_plan, a_task, a_workflow

from conductor_grpc.server.embedded.engine.queues import TaskQueues, WaitingPoll

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord

NOW = 1_000_000
PLAN = a_plan()


@pytest.fixture
def queues() -> TaskQueues:
    return TaskQueues()


def a_job(priority: int = 0, **fields: str) -> TaskRecord:
    return a_task(a_workflow(PLAN, priority=priority), **fields)


def waiting(queues: TaskQueues, count: int) -> list[WaitingPoll]:
    """Polls that wait at the queue `job`, in their order."""
    polls = [WaitingPoll() for _ in range(count)]
    for poll in polls:
        queues.enter("job", poll)
    queues.wake(NOW)
    return polls


def turns(polls: list[WaitingPoll]) -> list[bool]:
    return [poll.turn.is_set() for poll in polls]


class TestOrder:
    def test_priority_then_time_then_arrival(self, queues: TaskQueues) -> None:
        offers = [(random.choice([0, 0, 5, 99]), NOW - random.randrange(5)) for _ in range(300)]
        tasks = [a_job(priority) for priority, _ in offers]
        for task, (_, at) in zip(tasks, offers, strict=True):
            queues.offer(task, at)
        expected = sorted(range(300), key=lambda each: (-offers[each][0], offers[each][1], each))
        assert queues.take("job", 300, NOW) == [tasks[each] for each in expected]

    def test_a_high_priority_does_not_make_it_due(self, queues: TaskQueues) -> None:
        urgent, plain = a_job(99), a_job(0)
        queues.offer(urgent, NOW + 10)
        queues.offer(plain, NOW)
        assert queues.take("job", 5, NOW) == [plain]
        assert queues.take("job", 5, NOW + 10) == [urgent]

    def test_domains_are_queues_of_their_own(self, queues: TaskQueues) -> None:
        task = a_job(domain="east")
        queues.offer(task, NOW)
        assert queues.take("job", 1, NOW) == []
        assert queues.take("east:job", 1, NOW) == [task]

    def test_a_negative_count_takes_all_that_are_due(self, queues: TaskQueues) -> None:
        for at in (NOW, NOW, NOW + 1):
            queues.offer(a_job(), at)
        assert len(queues.take("job", -3, NOW)) == 2

    def test_moved_ones_are_handed_out_once(self, queues: TaskQueues) -> None:
        task, other = a_job(), a_job()
        queues.offer(task, NOW)
        queues.offer(other, NOW)
        queues.offer(task, NOW + 50)
        assert queues.size("job") == 2
        assert queues.take("job", 9, NOW) == [other]
        queues.offer(task, NOW)
        assert queues.take("job", 9, NOW + 50) == [task]
        assert queues.take("job", 9, NOW + 99) == []

    def test_removed_ones_are_gone(self, queues: TaskQueues) -> None:
        tasks = [a_job() for _ in range(4)]
        for task in tasks:
            queues.offer(task, NOW)
        queues.remove(tasks[1])
        queues.remove(tasks[1])
        assert queues.take("job", 1, NOW) == [tasks[0]]
        queues.remove(tasks[2])
        assert queues.size("job") == 1
        assert queues.take("job", 9, NOW) == [tasks[3]]
        assert not any(task.queued for task in tasks)


class TestSizes:
    def test_delayed_and_held_ones_count(self, queues: TaskQueues) -> None:
        for at in (NOW, NOW, NOW + 60_000):
            queues.offer(a_job(), at)
        queues.hold("job", len(queues.take("job", 1, NOW)))
        assert queues.size("job") == 3
        assert queues.held("job") == 1
        assert queues.sizes() == {"job": 2}
        queues.hold("job", -1)
        assert queues.size("job") == 2

    def test_a_queue_stays_known(self, queues: TaskQueues) -> None:
        task = a_job()
        queues.offer(task, NOW)
        queues.take("job", 1, NOW)
        assert queues.sizes() == {"job": 0}

    def test_a_poll_does_not_make_a_queue(self, queues: TaskQueues) -> None:
        assert queues.take("nobody", 1, NOW) == []
        poll = WaitingPoll()
        queues.enter("nobody", poll)
        queues.leave("nobody", poll)
        assert queues.sizes() == {}
        assert queues.size("nobody") == 0


class TestCost:
    def test_what_is_dead_does_not_pile_up(self, queues: TaskQueues) -> None:
        stays, moves = a_job(), a_job()
        queues.offer(stays, NOW + 10**9)
        for number in range(20_000):
            queues.offer(moves, NOW + number)
            gone = a_job()
            queues.offer(gone, NOW + number)
            queues.remove(gone)
        queue = queues._queues["job"]
        assert len(queue._ready) + len(queue._delayed) < 100

    def test_queues_that_are_idle_do_not_pile_up(self, queues: TaskQueues) -> None:
        for number in range(5_000):
            task = a_job(task_type=f"job {number}")
            queues.offer(task, NOW)
            queues.remove(task)
            queues.enter(f"job {number}", poll := WaitingPoll())
            queues.leave(f"job {number}", poll)
            queues.wake(NOW)
        assert len(queues._queues) <= 1_000
        assert len(queues.sizes()) == 5_000
        assert len(queues.deliveries) == 0

    def test_a_queue_in_use_is_not_taken_for_idle(self, queues: TaskQueues) -> None:
        delayed = a_job()
        queues.offer(delayed, NOW + 10)
        poll = WaitingPoll()
        queues.enter("waited for", poll)
        queues.hold("held", 1)
        for number in range(2_500):
            queues.enter(f"other {number}", other := WaitingPoll())
            queues.leave(f"other {number}", other)
        wanted = a_job(task_type="waited for")
        queues.offer(wanted, NOW)
        queues.wake(NOW)
        assert poll.turn.is_set()
        assert queues.held("held") == 1
        assert queues.take("job", 1, NOW + 10) == [delayed]

    def test_offer_and_take_are_quick(self, queues: TaskQueues) -> None:
        tasks = [a_job() for _ in range(20_000)]
        for task in tasks[:10_000]:
            queues.offer(task, NOW)
        began = time.process_time()
        for task in tasks[10_000:]:
            queues.offer(task, NOW)
            assert queues.take("job", 1, NOW)
        each = (time.process_time() - began) / 10_000
        assert each < 100e-6, "about 5 us are usual"


class TestTurns:
    def test_one_task_wakes_one_poll_in_the_order_they_came(self, queues: TaskQueues) -> None:
        polls = waiting(queues, 3)
        queues.offer(a_job(), NOW)
        assert turns(polls) == [False, False, False], "not before the change is safe"
        queues.wake(NOW)
        assert turns(polls) == [True, False, False]
        queues.wake(NOW)
        assert turns(polls) == [True, False, False]
        queues.offer(a_job(), NOW)
        queues.wake(NOW)
        assert turns(polls) == [True, True, False]

    def test_a_poll_that_comes_later_does_not_get_what_another_was_woken_for(self, queues: TaskQueues) -> None:
        (poll,) = waiting(queues, 1)
        task = a_job()
        queues.offer(task, NOW)
        queues.wake(NOW)
        assert queues.take("job", 1, NOW) == []
        queues.leave("job", poll)
        assert queues.take("job", 1, NOW) == [task]

    def test_what_a_poll_leaves_goes_to_the_next(self, queues: TaskQueues) -> None:
        gone, next_one = waiting(queues, 2)
        queues.offer(a_job(), NOW)
        queues.wake(NOW)
        queues.leave("job", gone)
        queues.wake(NOW)
        assert next_one.turn.is_set()

    def test_a_batch_leaves_each_woken_poll_its_task(self, queues: TaskQueues) -> None:
        first, second = waiting(queues, 2)
        for _ in range(5):
            queues.offer(a_job(), NOW)
        queues.wake(NOW)
        queues.leave("job", first)
        assert len(queues.take("job", 10, NOW)) == 4
        queues.leave("job", second)
        assert len(queues.take("job", 10, NOW)) == 1

    def test_one_that_has_waited_gets_its_place_back(self, queues: TaskQueues) -> None:
        first, second = waiting(queues, 2)
        first.wait(0)
        queues.leave("job", first)
        queues.enter("job", first)
        queues.offer(a_job(), NOW)
        queues.wake(NOW)
        assert turns([first, second]) == [True, False]

    def test_one_that_has_left_gets_no_turn(self, queues: TaskQueues) -> None:
        gone, next_one = waiting(queues, 2)
        queues.leave("job", gone)
        queues.leave("job", gone)
        queues.offer(a_job(), NOW)
        queues.wake(NOW)
        assert turns([gone, next_one]) == [False, True]

    def test_a_delayed_task_has_an_alarm_while_a_poll_waits(self, queues: TaskQueues) -> None:
        queues.offer(a_job(), NOW + 500)
        queues.wake(NOW)
        assert queues.deliveries.earliest() is None
        (poll,) = waiting(queues, 1)
        assert queues.deliveries.at("job") == NOW + 500
        queues.deliver("job", NOW + 499)
        assert not poll.turn.is_set()
        queues.deliver("job", NOW + 500)
        assert poll.turn.is_set()
        assert queues.deliveries.earliest() is None

    def test_and_the_next_one_when_that_is_removed(self, queues: TaskQueues) -> None:
        first = a_job()
        queues.offer(first, NOW + 10)
        queues.offer(a_job(), NOW + 20)
        waiting(queues, 1)
        queues.remove(first)
        queues.deliver("job", NOW + 10)
        assert queues.deliveries.at("job") == NOW + 20

    def test_closing_ends_all_waits_for_good(self, queues: TaskQueues) -> None:
        polls = waiting(queues, 3)
        queues.close()
        assert turns(polls) == [True, True, True]
        queues.enter("job", late := WaitingPoll())
        assert late.turn.is_set()
