"""The rows of the fault table, in its order."""

from __future__ import annotations

from faults.rows import clock, disk, integers, leases, network, server_death, signals, sizes, updates, worker_death

ROWS = [
    *signals.ROWS,
    *worker_death.ROWS,
    *server_death.ROWS,
    *network.ROWS,
    *integers.ROWS,
    *sizes.ROWS,
    *leases.ROWS,
    *updates.ROWS,
    *disk.ROWS,
    *clock.ROWS,
]

__all__ = ["ROWS"]
