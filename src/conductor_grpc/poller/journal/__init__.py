"""What a poller remembers on disk, so that a killed process loses nothing and strands nothing."""

from __future__ import annotations

from conductor_grpc.poller.journal.folder import FolderLock, adopt, adopt_below, make_folder
from conductor_grpc.poller.journal.journal import Journal
from conductor_grpc.poller.journal.state import Claim, FormerWorker, Outcome, Recovered

__all__ = [
    "Claim",
    "FolderLock",
    "FormerWorker",
    "Journal",
    "Outcome",
    "Recovered",
    "adopt",
    "adopt_below",
    "make_folder",
]
