"""Every row of the fault table, small: `make faults` runs them with more tasks and longer faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.processes import EmbeddedProcess
from faults.row import EMBEDDED, SQLITE, Row, run_row, verdict
from faults.rows import ROWS
from faults.scene import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import ServerAddress

    from faults.processes import Server
    from faults.scene import Outcome

ON_THE_REAL_SERVER = ("integers", "reset", "updates")
"""Here as well, and where the embedded one cannot do it, only here."""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with EmbeddedProcess(tmp_path_factory.mktemp("embedded")) as server:
        yield server


class Running:
    """The server that all tests share. It is not ours to kill, so it has no pid."""

    def __init__(self, address: ServerAddress) -> None:
        self.target = address.target
        self.base_url = address.base_url
        self.pid = 0

    def start(self) -> None:
        raise NotImplementedError

    kill = stop = start


@pytest.mark.parametrize("row", [row for row in ROWS if EMBEDDED in row.servers], ids=lambda row: row.name)
def test_on_the_embedded_server(row: Row, embedded: Server, tmp_path: Path) -> None:
    _passes(row, run_row(row, embedded, tmp_path / "row", SMALL))


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in ON_THE_REAL_SERVER], ids=lambda row: row.name)
@pytest.mark.feature("Replay and chaos tests")
@pytest.mark.bug("python-sdk#412")
def test_on_the_real_server(row: Row, real_server: ServerAddress, tmp_path: Path) -> None:
    assert SQLITE in row.servers
    _passes(row, run_row(row, Running(real_server), tmp_path / "row", SMALL))


def _passes(row: Row, outcome: Outcome) -> None:
    why = verdict(row, outcome)
    assert not why, f"{why}; {outcome}"
