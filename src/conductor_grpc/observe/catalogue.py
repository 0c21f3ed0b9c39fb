"""Every metric there is: its name, type, labels, and how those of several processes become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from conductor_grpc.poller.measures import BYTES, SECONDS

Kind = Literal["counter", "gauge", "histogram"]
Gather = Literal["sum", "max", "min"]


@dataclass(frozen=True)
class Definition:
    """One metric."""

    name: str
    """As Prometheus sees it; that of a counter ends in `_total`."""
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    gather: Gather = "sum"
    """What a gauge is over several processes. Counters and histograms are sums, over ended processes too."""
    bounds: tuple[float, ...] = ()
    """Of a histogram."""


def _counter(name: str, labels: str, meaning: str) -> Definition:
    return Definition(name, "counter", tuple(labels.split()), meaning)


def _gauge(name: str, labels: str, meaning: str, gather: Gather = "sum") -> Definition:
    return Definition(name, "gauge", tuple(labels.split()), meaning, gather)


def _histogram(name: str, labels: str, meaning: str, bounds: tuple[float, ...]) -> Definition:
    return Definition(name, "histogram", tuple(labels.split()), meaning, bounds=bounds)


CANONICAL: Final = (
    _counter("task_poll_total", "taskType", "Polls that have ended, whether with tasks, without, or with an error."),
    _counter("task_poll_error_total", "taskType exception", "Polls that failed."),
    _histogram(
        "task_poll_time_seconds", "taskType status", "How long a poll took, its wait on the server included.", SECONDS
    ),
    _counter("task_execution_started_total", "taskType", "Tasks that a worker has begun."),
    _counter(
        "task_execute_error_total",
        "taskType exception",
        "Tasks that failed: by the exception of the worker, or by the status it gave its result itself.",
    ),
    _histogram("task_execute_time_seconds", "taskType status", "How long a worker took for a task.", SECONDS),
    _counter(
        "task_update_error_total", "taskType exception", "Attempts to send a result that failed. They are repeated."
    ),
    _histogram("task_update_time_seconds", "taskType status", "How long the server took for a result.", SECONDS),
    _counter("task_execution_queue_full_total", "taskType", "Waits for a slot before a poll, since all were taken."),
    _counter("task_paused_total", "taskType", "Times the worker was paused."),
    _histogram("task_result_size_bytes", "taskType", "Size of a result as it is sent.", BYTES),
    _histogram(
        "http_api_client_request_seconds",
        "method uri status",
        "Calls over REST, which are made where gRPC will not do; status 0: there was no answer.",
        SECONDS,
    ),
    _gauge("active_workers", "taskType", "Tasks that run now."),
    _counter("thread_uncaught_exceptions_total", "", "Background parts of the poller that died."),
)
"""Names that all SDKs of Conductor share, so that dashboards carry over."""

OWN: Final = (
    _gauge("conductor_worker_slots_used", "taskType", "Slots with a task."),
    _gauge(
        "conductor_worker_slots_free",
        "taskType",
        "Slots without, as many as there may be at this moment. What workers share is counted for each of them.",
    ),
    _gauge(
        "conductor_worker_last_successful_poll_timestamp_seconds",
        "taskType",
        "When a poll last succeeded, in Unix time; 0: none has yet. Of several, the one for which it is longest ago.",
        "min",
    ),
    _counter(
        "conductor_worker_reclaimed_total",
        "taskType",
        "Tasks that a failed poll had left behind on the server and that were found again.",
    ),
    _gauge(
        "conductor_worker_outbox_updates", "", "Results (and tasks handed back) that the server has not accepted yet."
    ),
    _gauge("conductor_worker_outbox_bytes", "", "Their size."),
    _gauge(
        "conductor_worker_outbox_oldest_seconds", "", "How long the oldest of them has waited; 0: there is none.", "max"
    ),
    _counter("conductor_worker_updates_refused_total", "", "Results that the server has refused for good."),
    _counter(
        "conductor_worker_updates_repaired_total", "", "Results sent again, since a lease extension had undone them."
    ),
    _counter(
        "conductor_worker_late_updates_total",
        "standing",
        "Results that were late or in doubt, by what became of them: applied, ignored, reassigned, open, gone, hidden.",
    ),
    _counter(
        "conductor_worker_unsent_updates_total", "", "Results that the server had not accepted when the poller stopped."
    ),
    _gauge(
        "conductor_worker_lease_lag_seconds",
        "",
        "How long the most overdue lease extension is overdue; 0: none is.",
        "max",
    ),
    _counter("conductor_worker_lease_extensions_total", "", "Extensions of leases that the server has taken."),
    _counter("conductor_worker_leases_lost_total", "", "Tasks that could not be kept and may run elsewhere too."),
    _gauge("conductor_worker_journal_failed", "", "1: a journal is wanted but off, the log says why; 0 otherwise."),
)

CATALOGUE: Final = {each.name: each for each in (*CANONICAL, *OWN)}
