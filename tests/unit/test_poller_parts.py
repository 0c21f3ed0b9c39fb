"""The shape of background parts, and the register of tasks in our hands."""

from __future__ import annotations

import threading
from pathlib import Path
from unittest.mock import Mock

import grpc
import pytest

from conductor_grpc import Configuration, UnavailableError
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.journal import FormerWorker, Journal, Recovered
from conductor_grpc.poller.lease import LeaseKeeper
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.recovery import Recovery
from conductor_grpc.poller.registration import WorkerRegistration
from conductor_grpc.registration import Declared
from conductor_grpc.server.embedded.clock import AlarmThread, Clock
from conductor_grpc.transport.server_version import LeaseSupport


class Waiter(BackgroundPart):
    def __init__(self, on_death: object = None) -> None:
        super().__init__("waiter", on_death or (lambda *_: pytest.fail("died")))  # type: ignore[arg-type]
        self.woken = threading.Event()

    def _run(self) -> None:
        self.woken.wait()

    def _wake(self) -> None:
        self.woken.set()


def an_outbox() -> Outbox:
    return Outbox(Configuration(target="127.0.0.1:1"), lambda _: None, lambda _: None, lambda *_: pytest.fail("died"))


def an_alarm_thread() -> AlarmThread:
    return AlarmThread(Clock())


def a_lease_keeper() -> LeaseKeeper:
    return LeaseKeeper(an_outbox(), lambda: LeaseSupport.YES, None, lambda *_: pytest.fail("died"))


def a_journal() -> Journal:
    return Journal(Path("never opened"), lambda *_: pytest.fail("died"))


def a_recovery() -> Recovery:
    journal = Mock(recover=lambda: Recovered(workers=(FormerWorker("former", "work", None, 0),)))
    reclaim = Mock(stranded=Mock(side_effect=UnavailableError(code=grpc.StatusCode.UNAVAILABLE)))
    return Recovery(journal, Custody(), an_outbox(), reclaim, Mock(), lambda *_: pytest.fail("died"))


def a_registration() -> WorkerRegistration:
    declared = Declared("work", None, (), register=True, module=None)
    registrar = Mock(register_declared=Mock(side_effect=UnavailableError(code=grpc.StatusCode.UNAVAILABLE)))
    return WorkerRegistration([declared], registrar, lambda *_: pytest.fail("died"))


@pytest.mark.parametrize(
    "make", [Waiter, an_outbox, a_lease_keeper, an_alarm_thread, a_journal, a_recovery, a_registration]
)
class TestShape:
    def test_start_started_stop_joined(self, make: type[Waiter]) -> None:
        part = make()
        part.start()
        assert part.started.wait(10)
        assert part.alive
        assert not part.join(0)
        part.stop()
        assert part.join(10)
        assert not part.alive

    def test_stop_before_start_keeps_it_from_ever_running(self, make: type[Waiter]) -> None:
        part = make()
        part.stop()
        part.start()
        assert part.join(0)
        assert not part.started.is_set()

    def test_join_before_start_returns_at_once(self, make: type[Waiter]) -> None:
        assert make().join()

    def test_stress(self, make: type[Waiter]) -> None:
        """Ten threads, fifty parts, each started and stopped by all of them."""
        for _ in range(50):
            part = make()
            barrier = threading.Barrier(10)

            def use(part: BackgroundPart = part, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                part.start()
                part.stop()
                assert part.join(10)

            threads = [threading.Thread(target=use) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not part.alive


def test_a_death_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, BaseException]] = []

    class Broken(Waiter):
        def _run(self) -> None:
            raise RuntimeError("broken")

    part = Broken(lambda name, error: told.append((name, error)))
    part.start()
    assert part.join(10)
    assert [(name, str(error)) for name, error in told] == [("waiter", "broken")]
    assert "waiter died" in caplog.text


def test_custody_counts_a_task_handed_out_twice() -> None:
    custody = Custody()
    custody.take("a")
    custody.take("a")
    custody.release("a")
    assert len(custody) == 1
    custody.release("a")
    assert len(custody) == 0


def test_a_watch_sees_what_is_finished_while_it_lasts() -> None:
    custody = Custody()
    custody.take("before")
    with custody.watch() as seen:
        custody.release("before")
        custody.take("during")
        custody.release("during")
    custody.take("after")
    assert [seen.knows(task_id) for task_id in ("before", "during", "after")] == [True, True, False]


def test_two_watches_do_not_end_each_other() -> None:
    custody = Custody()
    first, second = custody.watch(), custody.watch()
    with first as seen:
        with second:  # equal to the first while both are empty
            pass
        custody.take("later")
    assert seen.knows("later")


def test_another_turn_of_a_task_that_is_held_is_not_held() -> None:
    custody = Custody()
    custody.take("a", 1)
    with custody.watch() as seen:
        assert [seen.holds("a", turn) for turn in (1, 2)] == [True, False]


def test_a_task_whose_turn_is_not_known_is_held_in_every_turn() -> None:
    custody = Custody()
    custody.take("a")
    with custody.watch() as seen:
        assert seen.holds("a", 7)
