"""The folders of a handler's processes: journals, and where its metrics are gathered."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal import FolderLock, Journal, Recovered, adopt_below, make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)


class HandlerFolders:
    """A numbered journal folder for each process, the same for each next process of its name.

    Where the configuration has no journal they are in a temporary folder: what a killed process held is then made good
    for as long as the handler lives. Used by one thread at a time.
    """

    def __init__(self, root: Path | None) -> None:
        """`root`: the journal of the configuration. Nothing is made yet."""
        self._root = root
        self._temporary: Path | None = None
        self._lock: FolderLock | None = None

    @property
    def temporary(self) -> Path:
        """A folder that is removed in the end; made when it is first asked for. Raises OSError."""
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="conductor-grpc-"))
        return self._temporary

    def open(self, count: int) -> list[Path]:
        """The folders for that many processes. What earlier handlers have left is the first one's.

        Raises:
            JournalError: Another handler, or a poller, has the journal; or there is no place for a temporary one.
        """
        root = self._root
        if root is None:
            try:
                root = self.temporary / "journal"
            except OSError as error:
                raise JournalError(
                    f"there is no place for a temporary journal, {error}: set TMPDIR, or give"
                    " Configuration(journal=folder)"
                ) from error
        try:
            make_folder(root)
            self._lock = FolderLock(root)
            folders = _free(root, count)
            adopt_below(root, folders[0])
        except OSError as error:
            # Each process tells the same of its own, and works without.
            logger.warning("the journals in %s cannot be used: %s", root, error)
            folders = [root / str(number) for number in range(count)]
        return folders

    def close(self, journals: Sequence[Path]) -> list[int]:
        """How many tasks and results each of the journals still holds. The temporary folder is removed, unless a
        journal in it holds any, or a worker id whose last poll may have left some behind."""
        left = [_left_in(journal) for journal in journals]
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        numbers = [len(each.claims) + len(each.outcomes) for each in left]
        if self._temporary is None:
            return numbers
        if self._root is not None or not (any(numbers) or any(each.workers for each in left)):
            shutil.rmtree(self._temporary, ignore_errors=True)
            return numbers
        kept = self._temporary / "journal"
        parts = {
            "%d tasks and results": sum(numbers),
            "%d worker ids under which the last poll may have left tasks behind": sum(
                len(each.workers) for each in left
            ),
        }
        logger.log(
            logging.ERROR if any(numbers) else logging.WARNING,
            "processes that did not end in order have left, in %s: %s. A handler with Configuration(journal=%r) takes"
            " care of that; give that at the start, and it does so by itself",
            kept,
            ", ".join(text % count for text, count in parts.items() if count),
            str(kept),
        )
        return numbers


def _free(root: Path, count: int) -> list[Path]:
    """Numbered folders that no process has: those of a handler that was killed may still be draining."""
    found: list[Path] = []
    number = 0
    while len(found) < count:
        folder = root / str(number)
        make_folder(folder)
        with contextlib.suppress(JournalError), contextlib.closing(FolderLock(folder)):
            found.append(folder)
        number += 1
    return found


def _left_in(folder: Path) -> Recovered:
    if not folder.is_dir() or not any(folder.iterdir()):
        return Recovered()
    try:
        journal = Journal.open(folder, lambda *_: None)
    except JournalError:  # its process could not even be killed
        return Recovered()
    with contextlib.closing(journal):
        return journal.recover()
