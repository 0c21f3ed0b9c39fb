"""One process of a handler, from its first start to its last end. See `child.py` for what runs in it."""

from __future__ import annotations

import logging
import pickle
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ConductorError, PollerError
from conductor_grpc.handler import child
from conductor_grpc.handler.health import ProcessHealth
from conductor_grpc.handler.report import ProcessReport
from conductor_grpc.poller.drain import FLUSH_GRACE, POLL_GRACE, DrainReport
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.slots.processes import CLOSE_GRACE
from conductor_grpc.poller.spawned import START_TIMEOUT, ChildEnded, SpawnedProcess

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc.handler.child import ChildSettings
    from conductor_grpc.handler.health import ProcessState
    from conductor_grpc.poller.drain import Deadline
    from conductor_grpc.poller.health import PollerHealth
    from conductor_grpc.poller.part import DeathHandler

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds before a process that has ended is followed by the next: doubled each time, of which half is by chance, so
that those that fell together do not come back together."""

STABLE_AFTER: Final = 30.0
"""Seconds of polling after which what happened before is forgotten."""

STARTS: Final = 5
"""How many starts in a row may come to nothing before the handler gives up."""

KILL_GRACE: Final = POLL_GRACE + 2 * FLUSH_GRACE + CLOSE_GRACE + 3.0
"""Seconds beyond the deadline, and the wait of the poll in flight, in which a process must have ended by itself."""

END_GRACE: Final = CLOSE_GRACE + 3.0
"""Seconds in which a process must have ended whose poller has, though nobody has stopped it: a thread of the worker's
may hold it up for ever, and it polls no more."""

_STEP: Final = 0.1
"""How soon a process is told that its deadline was moved up."""


class Seat(BackgroundPart):
    """Keeps one process alive until it is stopped. Stop it with a deadline: `stop_by` first."""

    def __init__(
        self,
        name: str,
        task_definition_name: str,
        settings: ChildSettings,
        journal: Path,
        poll_wait: float,
        on_death: DeathHandler,
    ) -> None:
        """
        Args:
            name: Of the process.
            task_definition_name: Of its worker.
            settings: What the process is to know.
            journal: The folder of its journal, which each next process takes over.
            poll_wait: Seconds that a poll in flight may wait on the server.
            on_death: Told when there will be no more processes although nobody wanted that.
        """
        super().__init__(f"conductor-{name}", on_death)
        self.process_name = name
        self.journal = journal
        self.loaded = threading.Event()
        """The first process could poll, or there is none; see `failure`."""
        self.ready = threading.Event()
        """The first process polls, or there is none."""
        self.failure: ConductorError | None = None
        """Why the first process could not even begin, or why there are no more."""
        self._type = task_definition_name
        self._settings = settings
        self._grace = poll_wait + KILL_GRACE
        self._deadline: Deadline | None = None
        self._go = threading.Event()
        self._woken = threading.Event()
        self._process: SpawnedProcess | None = None
        # Of the process of now:
        self._state: ProcessState = "starting"
        self._broken: ConductorError | None = None
        self._report: DrainReport | None = None
        self._poller: PollerHealth | None = None
        self._heard = time.monotonic()
        self._polls_since: float | None = None
        self._told = False
        self._told_end = 0.0
        self._kill_at: float | None = None
        self._kill_why = ""
        self._killed = False
        # Of all of them:
        self._pid: int | None = None
        self._restarts = 0
        self._failed_starts = 0
        self._falls = 0
        self._ending: str | None = None

    def go(self) -> None:
        """Let the first process poll, now or as soon as it can; later ones do so by themselves."""
        self._go.set()
        self._wake()

    def stop_by(self, deadline: Deadline) -> None:
        """Begin to stop: the process drains by that deadline, which may be moved up at any time."""
        self._deadline = deadline
        self.stop()

    def health(self) -> ProcessHealth:
        """How it is doing. Never blocks."""
        polls = self._state in ("running", "stopping")
        return ProcessHealth(
            name=self.process_name,
            task_definition_name=self._type,
            pid=self._pid,
            state=self._state,
            restarts=self._restarts,
            last_ending=self._ending,
            seconds_silent=time.monotonic() - self._heard if polls else 0.0,
            poller=self._poller if polls else None,
        )

    def report(self, left: int) -> ProcessReport:
        """What became of it, after its end; `left` is what its journal still holds."""
        return ProcessReport(self.process_name, self._report, self._ending or "was not started", self._restarts, left)

    def _run(self) -> None:
        try:
            while self._live() and not self._pause():
                self._restarts += 1
        finally:
            self._state = "ended"
            self.loaded.set()
            self.ready.set()

    def _wake(self) -> None:
        self._woken.set()
        process = self._process
        if process is not None:
            process.wake()

    def _live(self) -> bool:
        """One process from its start to its end; True if another one is to follow."""
        self._state, self._broken, self._report, self._poller = "starting", None, None, None
        self._polls_since, self._told, self._kill_at, self._killed = None, False, None, False
        try:
            process = SpawnedProcess(child.main, self._settings, self.process_name, repr(self.process_name))
        except OSError as error:
            self._ending = f"could not be started: {error}"
            return self._fell(None)
        self._process, self._pid = process, process.pid
        try:
            self._follow(process)
        except ChildEnded as ended:
            self._ending = str(ended)
        except BaseException:
            process.kill()
            raise
        finally:
            self._process, self._pid = None, None
            process.close()
        return self._fell(process)

    def _follow(self, process: SpawnedProcess) -> None:
        """Raises ChildEnded in the end."""
        started_by = time.monotonic() + START_TIMEOUT
        self._heard = time.monotonic()
        waits_to_go = False
        while True:
            if self.stopping:
                self._press(process)
            if waits_to_go and self._go.is_set():
                process.send(child.GO)
                waits_to_go = False
                started_by = time.monotonic() + START_TIMEOUT  # the others' time is not its own
            message = process.receive(self._patience(started_by))
            if message is None:
                if self._state == "starting" and time.monotonic() > started_by and not self._waits_for_others():
                    self._broken = PollerError(f"it was not ready after {START_TIMEOUT:.0f} s, and is killed")
                    process.kill()
                elif not self.stopping:
                    self._kill_if_late(process)
                continue
            self._heard = time.monotonic()
            if message[0] == child.LOADED:
                self.loaded.set()
                waits_to_go = True
            else:
                self._note(*message)

    def _waits_for_others(self) -> bool:
        return self.loaded.is_set() and not self._go.is_set()

    def _note(self, kind: str, *content: object) -> None:
        if kind == child.READY:
            self._polls_since = self._heard
            self._state, self._failed_starts = "running", 0
            logger.info("process %s (%s) polls", self.process_name, self._pid)
            self.ready.set()
        elif kind == child.BEAT:
            (self._poller,) = content  # type: ignore[assignment]
        elif kind == child.REPORT:
            self._report, failure = content  # type: ignore[assignment]
            if failure is not None:
                self._broken = PollerError(str(failure))
            if not self.stopping:
                self._kill_at, self._kill_why = self._heard + END_GRACE, f"{END_GRACE:.0f} s after its poller"
        else:
            (pickled,) = content
            self._broken = pickle.loads(pickled)  # type: ignore[arg-type]

    def _patience(self, started_by: float) -> float | None:
        if self.stopping:
            return _STEP
        if self._state == "starting" and not self._waits_for_others():
            return max(0.0, started_by - time.monotonic())
        if self._kill_at is not None and not self._killed:
            return max(0.0, self._kill_at - time.monotonic())
        return None

    def _press(self, process: SpawnedProcess) -> None:
        """Tell it to drain by the deadline, again when that was moved up, and kill it when all is over."""
        left = 0.0 if self._deadline is None else self._deadline.remaining()
        end = time.monotonic() + left
        if not self._told or end < self._told_end - _STEP:
            self._state, self._told, self._told_end = "stopping", True, end
            process.send(child.STOP, left)
        if left > 0:
            return
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace
            self._kill_why = f"{self._grace:.0f} s after its deadline"
        self._kill_if_late(process)

    def _kill_if_late(self, process: SpawnedProcess) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at and not self._killed:
            logger.error("%s has not ended %s and is killed", process, self._kill_why)
            process.kill()
            self._killed = True

    def _fell(self, process: SpawnedProcess | None) -> bool:
        """The process has ended: True if that is to be made good by another one."""
        if self._broken is not None:
            self._ending = f"{self._ending}, {self._broken}"
        if self.stopping:
            if process is not None and self._polls_since is None and process.exit_code() == 0:
                self._report = DrainReport()  # it was told before it had begun, and has taken nothing
            return False
        if self._polls_since is None:
            self._failed_starts += 1
            if not self.ready.is_set() or self._failed_starts >= STARTS:
                self._give_up("a process" if process is None else str(process))
                return False
        elif time.monotonic() - self._polls_since > STABLE_AFTER:
            self._falls = 0
        self._falls += 1
        return True

    def _give_up(self, process: str) -> None:
        hint = (
            ". What it printed on stderr says more; a program's main module must be importable, with what it does under"
            ' if __name__ == "__main__":'
        )
        text = f"process {self.process_name!r} cannot begin: {process} {self._ending}{'' if self._broken else hint}"
        if self._broken is not None and not self.ready.is_set():
            # The same kind of error, with all else that it carries.
            self._broken.args = (f"process {self.process_name!r} cannot begin: {self._broken}", *self._broken.args[1:])
            self.failure = self._broken
        else:
            self.failure = PollerError(text)
        if self.ready.is_set():
            logger.critical("%s; %d starts in a row have come to nothing, so the handler stops", text, STARTS)
            self._on_death(self.name, self.failure)

    def _pause(self) -> bool:
        """Wait before the next start; True if there is to be none."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._falls - 1))
        pause *= random.uniform(0.5, 1.0)
        self._state = "restarting"
        logger.error(
            "process %s %s although nobody has stopped it; the next one starts in %.1f s, and takes care of its tasks",
            self.process_name,
            self._ending,
            pause,
        )
        end = time.monotonic() + pause
        while not self.stopping and (left := end - time.monotonic()) > 0:
            self._woken.wait(left)
            self._woken.clear()
        return self.stopping
