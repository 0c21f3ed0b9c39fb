"""The embedded server's clock, its alarms, and the thread that fires them."""

from __future__ import annotations

import logging
import math
import random
import threading
import time

import pytest

from conductor_grpc.server.embedded.clock import AlarmThread, Clock
from conductor_grpc.server.embedded.engine.alarms import Alarms

HOUR = 3_600_000


def put(clock: Clock, alarms: Alarms, key: str, at: int) -> None:
    with clock.lock:
        alarms.set(key, at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


class TestAlarms:
    def test_the_earliest_is_first(self, alarms: Alarms) -> None:
        times = {f"key {number}": random.randrange(1_000) for number in range(500)}
        for key, at in times.items():
            alarms.set(key, at)
        popped = []
        while (key := alarms.pop_due(1_000)) is not None:
            popped.append(times[key])
        assert popped == sorted(times.values())
        assert alarms.earliest() is None

    def test_nothing_is_due_before_its_time(self, alarms: Alarms) -> None:
        alarms.set("a", 10)
        assert alarms.pop_due(9) is None
        assert alarms.earliest() == 10
        assert alarms.pop_due(10) == "a"
        assert alarms.pop_due(10) is None

    def test_a_key_has_one_alarm(self, alarms: Alarms) -> None:
        alarms.set("a", 10)
        alarms.set("a", 30)
        alarms.set("b", 20)
        assert [alarms.pop_due(99), alarms.pop_due(99), alarms.pop_due(99)] == ["b", "a", None]

    def test_one_that_is_cleared_and_set_again_goes_off_once(self, alarms: Alarms) -> None:
        alarms.set("a", 10)
        alarms.clear("a")
        alarms.set("a", 10)
        assert [alarms.pop_due(10), alarms.pop_due(10)] == ["a", None]

    def test_bring_forward_never_puts_off(self, alarms: Alarms) -> None:
        alarms.bring_forward("a", 20)
        alarms.bring_forward("a", 30)
        assert alarms.at("a") == 20
        alarms.bring_forward("a", 10)
        assert alarms.earliest() == alarms.at("a") == 10

    @pytest.mark.parametrize("live", [0, 100])
    def test_memory_follows_the_live_ones(self, alarms: Alarms, live: int) -> None:
        for number in range(live):
            alarms.set(f"live {number}", 10**9 + number)
        for number in range(200_000):
            alarms.set(f"key {number}", number)
            alarms.clear(f"key {number}")
            if number % 1_000 == 0:
                assert len(alarms._heap) <= 2 * live + 100
        for number in range(200_000):
            alarms.set("moving", number)
        assert len(alarms._heap) <= 2 * live + 100
        assert len(alarms) == live + 1

    def test_tells_only_of_earlier_ones(self, alarms: Alarms) -> None:
        told = []
        alarms.on_earlier = lambda: told.append(alarms.earliest())
        alarms.set("a", 50)
        alarms.set("b", 70)
        alarms.set("c", 20)
        alarms.clear("c")
        assert told == [50, 20]


class TestAdvance:
    def test_time_goes_on_from_the_new_time(self, clock: Clock) -> None:
        before = clock.now()
        clock.advance(3600)
        assert HOUR <= clock.now() - before < HOUR + 10_000
        clock.advance(0.25)
        assert HOUR + 250 <= clock.now() - before < HOUR + 10_000

    def test_time_does_not_stand_still_afterwards(self, clock: Clock) -> None:
        clock.advance(1)
        after = clock.now()
        deadline = time.monotonic() + 10
        while clock.now() == after and time.monotonic() < deadline:
            time.sleep(0.001)
        assert clock.now() > after

    def test_alarms_go_off_in_order_each_at_its_own_time(self, clock: Clock, alarms: Alarms) -> None:
        start = clock.now()
        seen = []
        clock.attach(alarms, lambda key: seen.append((key, clock.now() - start)))
        put(clock, alarms, "second", start + 2_000)
        put(clock, alarms, "first", start + 1_000)
        put(clock, alarms, "late", start + HOUR)
        clock.advance(60)
        assert seen == [("first", 1_000), ("second", 2_000)]
        assert alarms.at("late") is not None

    def test_several_sets_of_alarms_are_one_order(self, clock: Clock) -> None:
        start = clock.now()
        seen: list[str] = []
        one, other = Alarms(), Alarms()
        clock.attach(one, seen.append)
        clock.attach(other, seen.append)
        put(clock, one, "a", start + 100)
        put(clock, other, "b", start + 200)
        put(clock, one, "c", start + 300)
        clock.advance(1)
        assert seen == ["a", "b", "c"]

    def test_what_an_alarm_sets_goes_off_on_the_same_way(self, clock: Clock, alarms: Alarms) -> None:
        start = clock.now()
        seen = []

        def fire(key: str) -> None:
            seen.append(clock.now() - start)
            alarms.set(key, clock.now() + 600_000)

        clock.attach(alarms, fire)
        put(clock, alarms, "every ten minutes", start + 600_000)
        clock.advance(3600)
        assert seen == [600_000 * times for times in range(1, 7)]

    def test_an_alarm_that_is_always_due_does_not_stop_the_time(self, clock: Clock, alarms: Alarms) -> None:
        fired = []

        def fire(key: str) -> None:
            fired.append(key)
            alarms.set(key, 0)

        clock.attach(alarms, fire)
        put(clock, alarms, "always", 0)
        clock.advance(0.1)
        assert 0 < len(fired) <= 101

    def test_an_overdue_alarm_goes_off_now(self, clock: Clock, alarms: Alarms) -> None:
        start = clock.now()
        seen = []
        clock.attach(alarms, lambda _: seen.append(clock.now()))
        put(clock, alarms, "overdue", start - HOUR)
        clock.advance(0)
        assert start <= seen[0] < start + 10_000

    @pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, -math.inf, 1e12])
    def test_a_number_of_seconds_that_cannot_be(self, clock: Clock, seconds: float) -> None:
        before = clock.now()
        with pytest.raises(ValueError, match=r"advance\(.*\): expected a number of seconds from 0 to"):
            clock.advance(seconds)
        assert clock.now() - before < 10_000

    def test_advances_by_several_threads_add_up(self, clock: Clock, alarms: Alarms) -> None:
        start = clock.now()
        running = 0
        most = 0
        times = []

        def fire(key: str) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            times.append(clock.now())
            alarms.set(key, clock.now() + 1_000)
            running -= 1

        clock.attach(alarms, fire)
        put(clock, alarms, "every second", start + 1_000)
        threads = [threading.Thread(target=clock.advance, args=(100,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1
        assert 799 <= len(times) <= 810
        assert times == sorted(times)
        assert 800_000 <= clock.now() - start < 810_000

    def test_one_that_fails_is_logged_and_tried_again_later(
        self, clock: Clock, alarms: Alarms, caplog: pytest.LogCaptureFixture
    ) -> None:
        start = clock.now()
        seen = []

        def fire(key: str) -> None:
            seen.append((key, clock.now() - start))
            if key == "bad" and len(seen) < 3:
                raise RuntimeError("broken on purpose")

        clock.attach(alarms, fire)
        put(clock, alarms, "bad", start + 1_000)
        put(clock, alarms, "good", start + 2_000)
        with caplog.at_level(logging.ERROR):
            clock.advance(120)
        assert seen == [("bad", 1_000), ("good", 2_000), ("bad", 31_000)]
        assert "the alarm of bad failed; again in 30 s" in caplog.text
        assert "RuntimeError: broken on purpose" in caplog.text

    @pytest.mark.parametrize(("set_to", "expected"), [(0, 30_000), (10_000, 10_000), (90_000, 30_000)])
    def test_one_that_is_set_before_it_fails(
        self, clock: Clock, alarms: Alarms, set_to: int, expected: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        start = clock.now()
        seen = []

        def fire(key: str) -> None:
            seen.append(clock.now() - start)
            if len(seen) == 1:
                alarms.set(key, clock.now() + set_to)
                raise RuntimeError("broken on purpose")

        clock.attach(alarms, fire)
        put(clock, alarms, "bad", start)
        clock.advance(120)
        assert seen[1] - seen[0] == expected
        assert "broken on purpose" in caplog.text


class TestAlarmThread:
    @pytest.fixture
    def thread(self, clock: Clock) -> AlarmThread:
        return AlarmThread(clock)

    def test_fires_in_real_time(self, clock: Clock, alarms: Alarms, thread: AlarmThread) -> None:
        fired = threading.Event()
        clock.attach(alarms, lambda _: fired.set())
        thread.start()
        due = time.monotonic() + 0.05
        put(clock, alarms, "later", clock.now() + HOUR)
        put(clock, alarms, "soon", clock.now() + 50)
        assert fired.wait(10)
        assert time.monotonic() >= due - 0.002
        thread.stop()
        assert thread.join(10)
        assert alarms.at("later") is not None

    def test_a_new_alarm_cuts_its_wait_short(self, clock: Clock, alarms: Alarms, thread: AlarmThread) -> None:
        fired = threading.Event()
        waiting = threading.Event()
        clock.attach(alarms, lambda key: waiting.set() if key == "first" else fired.set())
        put(clock, alarms, "first", clock.now())
        put(clock, alarms, "far", clock.now() + HOUR)
        thread.start()
        assert waiting.wait(10)
        put(clock, alarms, "now", clock.now())
        assert fired.wait(5), "within the ten seconds that it waits at most"
        thread.stop()
        assert thread.join(10)

    def test_lives_on_when_an_alarm_fails(
        self, clock: Clock, alarms: Alarms, thread: AlarmThread, caplog: pytest.LogCaptureFixture
    ) -> None:
        fired = threading.Event()
        failures = []

        def fire(key: str) -> None:
            if key == "bad":
                failures.append(key)
                raise RuntimeError("broken on purpose")
            fired.set()

        clock.attach(alarms, fire)
        put(clock, alarms, "bad", clock.now())
        put(clock, alarms, "good", clock.now() + 20)
        thread.start()
        assert fired.wait(10)
        thread.stop()
        assert thread.join(10)
        assert failures == ["bad"], "not again at once"
        assert "broken on purpose" in caplog.text

    def test_stop_ends_a_wait_without_alarms(self, thread: AlarmThread) -> None:
        thread.start()
        assert thread.started.wait(10)
        thread.stop()
        assert thread.join(5), "within the ten seconds that it waits at most"

    def test_advance_while_it_runs(self, clock: Clock, alarms: Alarms, thread: AlarmThread) -> None:
        """Each alarm goes off once, whoever gets there first."""
        seen = []
        clock.attach(alarms, seen.append)
        thread.start()
        for number in range(200):
            put(clock, alarms, f"key {number}", clock.now() + 1_000)
            clock.advance(1)
            assert seen[-1] == f"key {number}"
        thread.stop()
        assert thread.join(10)
        assert len(seen) == 200
