"""What the journal knows at one moment, and the records that say so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, NamedTuple

from conductor_grpc.poller.journal.records import Kind, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

    from conductor_grpc.worker.task import Task

    Key = tuple[str, int]
    """Task id and poll count: the same task may be handed out again before its last update is answered."""


class Claim(NamedTuple):
    """A task that the server has handed out to a worker."""

    task_id: str
    poll_count: int
    workflow_instance_id: str
    task_type: str
    worker_id: str

    @classmethod
    def of(cls, task: Task) -> Self:
        return cls(task.task_id, task.poll_count, task.workflow_instance_id, task.task_def_name, task.worker_id)

    @property
    def key(self) -> Key:
        return self.task_id, self.poll_count


class Outcome(NamedTuple):
    """A task that was run."""

    claim: Claim
    wire: bytes
    """The serialised UpdateTaskRequest."""


class Crash(NamedTuple):
    """A task that was here each time when a process died, or ended without having got rid of it."""

    task_id: str
    poll_count: int
    """As it was the last time."""
    times: int
    noted_ms: int
    """The last time, in epoch milliseconds."""


class FormerWorker(NamedTuple):
    """A worker id under which an earlier run has polled."""

    worker_id: str
    task_type: str
    domain: str | None
    since_ms: int
    """When it began, in epoch milliseconds."""


@dataclass(frozen=True)
class Recovered:
    """What earlier runs have left undone."""

    outcomes: tuple[Outcome, ...] = ()
    """Of tasks that were run; the server may or may not have them."""
    claims: tuple[Claim, ...] = ()
    """Tasks without an outcome."""
    workers: tuple[FormerWorker, ...] = ()
    """Under whose ids the server may have handed out tasks that never arrived."""
    integer_types: frozenset[str] = frozenset()
    """Task types whose inputs hold JSON integers."""


class State:
    """What is not settled yet. Not thread-safe.

    A change returns the record from which `apply` makes the same change.
    """

    def __init__(self) -> None:
        self._claims: dict[Key, Claim] = {}
        self._outcomes: dict[Key, Outcome] = {}
        self._workers: dict[str, FormerWorker] = {}
        self._integer_types: dict[str, int] = {}
        """When each was noted, in epoch milliseconds."""
        self._crashes: dict[str, Crash] = {}

    def add_worker(self, worker: FormerWorker) -> bytes:
        self._workers[worker.worker_id] = worker
        return encode(Kind.WORKER, json.dumps(worker).encode())

    def forget_worker(self, worker_id: str) -> bytes:
        self._workers.pop(worker_id, None)
        return encode(Kind.FORGET_WORKER, json.dumps(worker_id).encode())

    def add_integer_type(self, task_type: str, noted_ms: int) -> bytes:
        self._integer_types[task_type] = noted_ms
        return _integers_record(task_type, noted_ms)

    def has_integer_type(self, task_type: str, since_ms: int) -> bool:
        """Whether it was noted at that time or later."""
        return self._integer_types.get(task_type, -1) >= since_ms

    def forget_integer_types(self, before_ms: int) -> None:
        """For `records` and `recovered`; there is no record that says so."""
        self._integer_types = {name: noted for name, noted in self._integer_types.items() if noted >= before_ms}

    def crash(self, claim: Claim, noted_ms: int) -> tuple[int, bytes]:
        """How often a process has died with this task; the record is empty where this time is noted already."""
        known = self._crashes.get(claim.task_id)
        if known is not None and known.poll_count == claim.poll_count:
            return known.times, b""
        crash = Crash(claim.task_id, claim.poll_count, 1 if known is None else known.times + 1, noted_ms)
        self._crashes[claim.task_id] = crash
        return crash.times, _crash_record(crash)

    def forget_crashes(self, before_ms: int) -> None:
        """As `forget_integer_types`."""
        self._crashes = {name: crash for name, crash in self._crashes.items() if crash.noted_ms >= before_ms}

    def claim(self, claims: Iterable[Claim]) -> bytes:
        added = {claim.key: claim for claim in claims}
        self._claims.update(added)
        return _claims_record(added.values())

    def finish(self, claim: Claim, wire: bytes) -> bytes:
        # No claim is needed for it: one that cannot be read comes as an outcome at once.
        self._claims.pop(claim.key, None)
        outcome = self._outcomes[claim.key] = Outcome(claim, wire)
        return _outcome_record(outcome)

    def outcome(self, key: Key) -> bytes | None:
        """The record of an outcome that is not settled."""
        outcome = self._outcomes.get(key)
        return None if outcome is None else _outcome_record(outcome)

    def settle(self, key: Key) -> None:
        """`settled_record` is its record, for many at once."""
        self._claims.pop(key, None)
        if self._outcomes.pop(key, None) is not None:
            self._crashes.pop(key[0], None)  # it was run after all

    def apply(self, kind: Kind, payload: bytes) -> None:
        """Make the change that a record tells of. Raises ValueError or TypeError if it makes no sense."""
        if kind is Kind.OUTCOME:
            described, _, wire = payload.partition(b"\n")
            self.finish(Claim(*json.loads(described)), wire)
            return
        value = json.loads(payload)
        if kind is Kind.CLAIMS:
            self.claim(Claim(*fields) for fields in value)
        elif kind is Kind.SETTLED:
            for task_id, poll_count in value:
                self.settle((task_id, poll_count))
        elif kind is Kind.WORKER:
            self.add_worker(FormerWorker(*value))
        elif kind is Kind.FORGET_WORKER:
            self.forget_worker(value)
        elif kind is Kind.CRASH:
            crash = Crash(*value)
            self._crashes[crash.task_id] = crash
        else:
            task_type, noted_ms = value
            self.add_integer_type(task_type, noted_ms)

    def records(self) -> Iterator[bytes]:
        """All that is known, as records; of this moment, whatever changes while they are written."""
        workers, types = list(self._workers.values()), list(self._integer_types.items())
        claims, outcomes = list(self._claims.values()), list(self._outcomes.values())
        return _records(workers, types, list(self._crashes.values()), claims, outcomes)

    def recovered(self) -> Recovered:
        return Recovered(
            tuple(self._outcomes.values()),
            tuple(self._claims.values()),
            tuple(self._workers.values()),
            frozenset(self._integer_types),
        )


def settled_record(keys: Iterable[Key]) -> bytes:
    return encode(Kind.SETTLED, json.dumps(list(keys)).encode())


def _records(
    workers: list[FormerWorker],
    types: list[tuple[str, int]],
    crashes: list[Crash],
    claims: list[Claim],
    outcomes: list[Outcome],
) -> Iterator[bytes]:
    for worker in workers:
        yield encode(Kind.WORKER, json.dumps(worker).encode())
    for task_type, noted_ms in types:
        yield _integers_record(task_type, noted_ms)
    for crash in crashes:
        yield _crash_record(crash)
    if claims:
        yield _claims_record(claims)
    for outcome in outcomes:
        yield _outcome_record(outcome)


def _integers_record(task_type: str, noted_ms: int) -> bytes:
    return encode(Kind.INTEGERS, json.dumps([task_type, noted_ms]).encode())


def _crash_record(crash: Crash) -> bytes:
    return encode(Kind.CRASH, json.dumps(crash).encode())


def _claims_record(claims: Iterable[Claim]) -> bytes:
    return encode(Kind.CLAIMS, f"[{','.join(map(_as_json, claims))}]".encode())


def _outcome_record(outcome: Outcome) -> bytes:
    return encode(Kind.OUTCOME, b"%b\n%b" % (_as_json(outcome.claim).encode(), outcome.wire))


def _as_json(claim: Claim) -> str:
    # Every task comes by here twice: json.dumps() would take three times as long.
    task_id, poll_count, workflow_instance_id, task_type, worker_id = claim
    return f"[{quoted(task_id)},{poll_count},{quoted(workflow_instance_id)},{quoted(task_type)},{quoted(worker_id)}]"
