"""From values to Prometheus' text format."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from conductor_grpc.observe.catalogue import CATALOGUE
from conductor_grpc.poller.measures import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.observe.catalogue import Definition
    from conductor_grpc.observe.values import Value, Values

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class PollerCollector(Collector):
    """Gives what `read` returns at the moment of the scrape; in between, nothing is done or kept.

    For a registry of one's own too: `registry.register(PollerCollector(...))`.
    """

    def __init__(self, read: Callable[[], Values]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        by_name = self._read().by_name
        for definition in CATALOGUE.values():
            yield _family(definition, by_name.get(definition.name, {}))

    def describe(self) -> Iterator[Metric]:
        """Spares a scrape at the registration, when there may be nothing to read yet."""
        for definition in CATALOGUE.values():
            yield _family(definition, {})


def text_of(read: Callable[[], Values]) -> bytes:
    """What `read` returns, in the text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PollerCollector(read))
    return generate_latest(registry)


def _family(definition: Definition, values: dict[tuple[str, ...], Value]) -> Metric:
    family: Metric
    if definition.kind == "histogram":
        family = histogram = HistogramMetricFamily(definition.name, definition.meaning, labels=definition.labels)
        bounds = [*map(floatToGoString, definition.bounds), "+Inf"]
        for labels, value in values.items():
            assert isinstance(value, Reading)
            histogram.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
        return family
    plain = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = numbers = plain(definition.name, definition.meaning, labels=definition.labels)
    for labels, value in values.items():
        assert not isinstance(value, Reading)
        numbers.add_metric(labels, value)
    return family
