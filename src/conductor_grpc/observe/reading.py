"""From a poller to the values of its metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.observe.catalogue import CATALOGUE
from conductor_grpc.observe.values import Values

if TYPE_CHECKING:
    from conductor_grpc.observe.values import Value
    from conductor_grpc.poller.health import PollerHealth, WorkerHealth
    from conductor_grpc.poller.measures import Measures, Times, WorkerMeasures

SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"

LATE: Final = ("applied", "ignored", "reassigned", "open", "gone", "hidden")


def read(health: PollerHealth, measures: Measures) -> Values:
    """The values of this moment. Never blocks long."""
    values = _Reader()
    for worker in measures.workers:
        values.of_measures(worker)
    for task_type, times in measures.updates.copy().items():
        values.of_times("task_update", task_type, times)
    for labels, histogram in measures.rest.copy().items():
        values.put("http_api_client_request_seconds", histogram.read(), *labels)
    for each in health.workers:
        values.of_worker(each)
    values.of_poller(health)
    return values


class _Reader(Values):
    def put(self, name: str, value: Value, *labels: str) -> None:
        self.add(name, labels, value, CATALOGUE[name].gather)

    def of_measures(self, worker: WorkerMeasures) -> None:
        task_type = worker.task_type
        self.of_times("task_poll", task_type, worker.polls)
        self.of_times("task_execute", task_type, worker.executions)
        self.put("task_result_size_bytes", worker.result_bytes.read(), task_type)

    def of_times(self, stem: str, task_type: str, times: Times) -> None:
        polls = 0
        for status, histogram in ((SUCCESS, times.succeeded), (FAILURE, times.failed)):
            reading = histogram.read()
            polls += sum(reading.counts)
            self.put(f"{stem}_time_seconds", reading, task_type, status)
        if stem == "task_poll":
            self.put("task_poll_total", polls, task_type)
        for error, count in times.errors.copy().items():
            self.put(f"{stem}_error_total", count, task_type, error)

    def of_worker(self, worker: WorkerHealth) -> None:
        task_type, since = worker.task_definition_name, worker.seconds_since_poll
        self.put("active_workers", worker.running, task_type)
        self.put("conductor_worker_slots_used", worker.running, task_type)
        self.put("conductor_worker_slots_free", max(0, worker.slots - worker.running), task_type)
        self.put(
            "conductor_worker_last_successful_poll_timestamp_seconds",
            0.0 if since is None else time.time() - since,
            task_type,
        )
        self.put("task_execution_started_total", worker.begun, task_type)
        self.put("task_execution_queue_full_total", worker.full_house, task_type)
        self.put("task_paused_total", worker.pauses, task_type)
        self.put("conductor_worker_reclaimed_total", worker.reclaimed, task_type)

    def of_poller(self, health: PollerHealth) -> None:
        self.put("thread_uncaught_exceptions_total", len(health.dead_parts))
        self.put("conductor_worker_outbox_updates", health.unsent)
        self.put("conductor_worker_outbox_bytes", health.unsent_bytes)
        self.put("conductor_worker_outbox_oldest_seconds", health.oldest_unsent)
        self.put("conductor_worker_updates_refused_total", health.refused)
        self.put("conductor_worker_updates_repaired_total", health.repaired)
        for standing in LATE:
            self.put("conductor_worker_late_updates_total", health.late.get(standing, 0), standing)
        self.put("conductor_worker_unsent_updates_total", health.unsent_at_stop)
        self.put("conductor_worker_lease_lag_seconds", health.lease_lag)
        self.put("conductor_worker_lease_extensions_total", health.leases_extended)
        self.put("conductor_worker_leases_lost_total", health.leases_lost)
        self.put("conductor_worker_journal_failed", 0 if health.journal_failure is None else 1)
