from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_grpc.poller.planner import (
    BACKOFF_LIMIT,
    MAX_BATCH,
    NO_WAIT,
    Memory,
    Poll,
    after_answer,
    after_failure,
    next_poll,
    pause,
)

SCOUT = Poll(count=1, wait_ms=5000)


@pytest.mark.feature("Long poll")
def test_an_idle_queue_is_scouted_for_one_task_with_a_long_wait() -> None:
    assert next_poll(Memory(), free=50, wait_ms=5000) == SCOUT
    assert next_poll(after_answer(Memory(), SCOUT, received=0, elapsed_ms=5001), 50, 5000) == SCOUT


@pytest.mark.feature("Adaptive polling, backoff, jitter")
def test_a_full_answer_is_drained_without_waiting_until_one_falls_short() -> None:
    memory = after_answer(Memory(), SCOUT, received=1, elapsed_ms=3)
    drain = next_poll(memory, free=50, wait_ms=5000)
    assert drain == Poll(count=50, wait_ms=NO_WAIT)
    memory = after_answer(memory, drain, received=50, elapsed_ms=20)
    assert next_poll(memory, free=20, wait_ms=5000) == Poll(count=20, wait_ms=NO_WAIT)
    memory = after_answer(memory, drain, received=49, elapsed_ms=20)
    assert next_poll(memory, free=50, wait_ms=5000) == SCOUT


def test_an_empty_drain_is_no_sign_of_a_missing_long_poll() -> None:
    memory = after_answer(Memory(draining=True), Poll(50, NO_WAIT), received=0, elapsed_ms=2)
    assert pause(memory, jitter=1.0) == 0


def test_more_tasks_than_asked_for_count_as_full() -> None:
    assert after_answer(Memory(), SCOUT, received=3, elapsed_ms=1).draining


def test_a_type_that_breaks_its_batches_is_polled_one_by_one() -> None:
    assert next_poll(Memory(draining=True), free=50, wait_ms=5000, most=1) == Poll(1, NO_WAIT)


@pytest.mark.feature("conductor-python: backoff on an empty queue")
def test_an_unmet_wait_backs_off_and_a_task_ends_that() -> None:
    memory = Memory()
    pauses = []
    for _ in range(20):
        memory = after_answer(memory, SCOUT, received=0, elapsed_ms=4)
        pauses.append(pause(memory, jitter=0.5))
    assert pauses[0] == 0.01
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert pause(after_answer(memory, SCOUT, received=1, elapsed_ms=4), 0.5) == 0


@pytest.mark.feature("Adaptive polling, backoff, jitter")
@pytest.mark.feature("conductor-python: backoff after failures")
def test_failures_back_off_to_a_limit_and_begin_anew_after_a_success() -> None:
    memory = Memory(draining=True)
    pauses = []
    for _ in range(5000):
        memory = after_failure(memory)
        pauses.append(pause(memory, jitter=0.5))
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert pauses[-1] == BACKOFF_LIMIT
    assert next_poll(memory, free=50, wait_ms=5000) == SCOUT
    assert pause(after_failure(after_answer(memory, SCOUT, 0, 5000)), 0.5) == 0.2


@given(
    draining=st.booleans(),
    failures=st.integers(0, 10**6),
    free=st.integers(1, 10**4),
    wait_ms=st.integers(1, 5000),
    jitter=st.floats(0, 1),
)
@pytest.mark.feature("conductor-python: batch poll")
def test_a_poll_never_asks_for_more_than_there_are_slots(
    draining: bool, failures: int, free: int, wait_ms: int, jitter: float
) -> None:
    memory = Memory(draining=draining, failures=failures)
    poll = next_poll(memory, free, wait_ms)
    assert 1 <= poll.count <= min(free, MAX_BATCH)
    assert poll.wait_ms in (NO_WAIT, wait_ms)
    assert 0 <= pause(memory, jitter) <= BACKOFF_LIMIT * 1.2 + 1e-9
