"""How a poller is doing, for people and machines outside of its process: metrics and health.

This room stands above the poller, which loads it only where metrics are asked for. What is counted on the way of a task
is in `poller/measures.py`: plain numbers, which are read here whenever somebody wants to see them.
"""

from __future__ import annotations

from conductor_grpc.observe.settings import MetricsSettings

__all__ = ["MetricsSettings"]
