"""Reading what a poller exposes, with Prometheus' own parser."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping


class Metrics:
    """The samples of one text. Raises ValueError for anything but the whole of one."""

    def __init__(self, text: str) -> None:
        if not text.endswith("\n"):
            raise ValueError(f"the text is cut off: {text[-50:]!r}")
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """That of the sample with exactly these labels; None if there is none."""
        return self._samples.get((name, tuple(sorted(labels.items()))))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels, whatever other ones they have."""
        wanted = set(labels.items())
        return sum(value for (sample, has), value in self._samples.items() if sample == name and wanted <= set(has))

    def of(self, name: str) -> Mapping[tuple[tuple[str, str], ...], float]:
        """All samples of this name."""
        return {labels: value for (sample, labels), value in self._samples.items() if sample == name}


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body of an answer."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def scrape(port: int) -> Metrics:
    status, text = get(port, "/metrics")
    assert status == 200, text
    return Metrics(text)


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Status and document of `/livez` or `/readyz`."""
    status, text = get(port, path)
    document: dict[str, Any] = json.loads(text)
    return status, document
