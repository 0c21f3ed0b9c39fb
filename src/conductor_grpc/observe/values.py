"""The values of all metrics at one moment, and how those of several processes become one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from conductor_grpc.observe.catalogue import CATALOGUE
from conductor_grpc.poller.measures import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.observe.catalogue import Gather

Value = float | Reading
"""Of a counter or gauge, or of a histogram."""

FORMAT: Final = 1
"""Of what `to_json` makes. Raise it whenever the catalogue changes in a way that an older version cannot add up."""

_GATHER: Final = {"max": max, "min": min}


class Values:
    """By metric, then by the values of its labels."""

    def __init__(self) -> None:
        self.by_name: dict[str, dict[tuple[str, ...], Value]] = {}

    def add(self, name: str, labels: tuple[str, ...], value: Value, gather: Gather = "sum") -> None:
        """Take a value in; one that is there already is gathered with it."""
        of_metric = self.by_name.setdefault(name, {})
        known = of_metric.get(labels)
        of_metric[labels] = value if known is None else _gathered(known, value, gather)

    def to_json(self) -> str:
        content = {
            name: [[labels, value] for labels, value in of_metric.items()] for name, of_metric in self.by_name.items()
        }
        return json.dumps({"format": FORMAT, "values": content}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Values:
        """Raises ValueError for anything but what `to_json` of this version makes."""
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, expected {FORMAT}")
            values = cls()
            for name, samples in document["values"].items():
                histogram = CATALOGUE[name].kind == "histogram"
                for labels, value in samples:
                    values.add(name, tuple(labels), Reading(list(value[0]), value[1]) if histogram else float(value))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"no values of metrics: {type(error).__name__}: {error}") from error
        return values


def gather(living: Iterable[Values], ended: Values) -> Values:
    """Those of all processes. Of ended ones, counters and histograms go on counting, or their sums would fall."""
    all_of_them = Values()
    _add_all(all_of_them, ended, gauges=False)
    for each in living:
        _add_all(all_of_them, each, gauges=True)
    return all_of_them


def fold(ended: Values, more: Values) -> None:
    """Add to the values of ended processes those of one more."""
    _add_all(ended, more, gauges=False)


def _add_all(to: Values, values: Values, *, gauges: bool) -> None:
    for name, of_metric in values.by_name.items():
        definition = CATALOGUE[name]
        if gauges or definition.kind != "gauge":
            for labels, value in of_metric.items():
                to.add(name, labels, value, definition.gather)


def _gathered(one: Value, other: Value, how: Gather) -> Value:
    if isinstance(one, Reading):
        other = cast("Reading", other)
        counts = [mine + its for mine, its in zip(one.counts, other.counts, strict=True)]
        return Reading(counts, one.total + other.total)
    other = cast("float", other)
    return one + other if how == "sum" else _GATHER[how](one, other)
