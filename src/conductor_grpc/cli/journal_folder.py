"""Where `conductor-grpc run` keeps its journal if nobody says."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.worker import WorkerInterface

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


def default_folders(configuration: Configuration, workers: Sequence[WorkerInterface]) -> Iterator[Path]:
    """The folders to try, without end: the first that no other process has is the one to take.

    They are the same whenever the same task types are run for the same server, so that a process finds what an
    earlier one has left. Several such processes on one machine get one each.
    """
    types = sorted((worker.task_definition_name, worker.domain or configuration.domain or "") for worker in workers)
    work = hashlib.sha256(json.dumps([configuration.target, types]).encode()).hexdigest()
    name = f"{_UNFIT.sub('_', configuration.target)[:60]}-{work[:12]}"
    return (_state_home() / "conductor-grpc" / "journal" / name / str(number) for number in itertools.count())


def _state_home() -> Path:
    """As the XDG base directory specification has it: what must outlive a restart, but is nobody's document."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if named.startswith("/") else Path(os.path.expanduser("~/.local/state"))  # noqa: PTH111 - raises nothing
