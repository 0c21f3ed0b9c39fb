"""Pollers in processes of their own, and what keeps them alive."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from conductor_grpc.configuration import configured
from conductor_grpc.errors import PollerError
from conductor_grpc.handler.folders import HandlerFolders
from conductor_grpc.handler.health import HandlerHealth, health_of
from conductor_grpc.handler.report import HandlerReport
from conductor_grpc.handler.seat import Seat
from conductor_grpc.handler.sending import check_sendable, child_settings
from conductor_grpc.handler.staffing import find_all, names_of, numbers_of
from conductor_grpc.observe.settings import check_metrics_settings
from conductor_grpc.poller.drain import Deadline
from conductor_grpc.poller.slots.factory import check_surroundings
from conductor_grpc.poller.spawned import check_main_module
from conductor_grpc.poller.stop_request import SIGNAL_LOOK, StopRequest
from conductor_grpc.worker.environment import deployed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.handler.endpoint import HandlerEndpoint
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.poller.health import State
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory

logger = logging.getLogger(__name__)


class TaskHandler:
    """Runs workers in processes of their own, each with a poller, and starts a process again that has ended.

    Either `start_processes()` and `join_processes()`, or `start_processes()` and `stop_processes()`; as a context
    manager it stops in the end, and does not start. A handler runs once: after a stop make a new one. All methods are
    thread-safe. Processes are spawned, so what a program does must be under `if __name__ == "__main__":`.
    """

    def __init__(
        self,
        workers: Sequence[WorkerInterface] | None = None,
        configuration: Configuration | None = None,
        metrics_settings: MetricsSettings | None = None,
        *,
        processes: int | Mapping[str, int] = 1,
        modules: Sequence[str] = (),
        entry_points: str | None = None,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
    ) -> None:
        """Starts nothing yet. Imports the modules.

        Args:
            workers: What to run, with what `modules` and `entry_points` find. Environment variables may change their
                options, see docs/executors.md.
            configuration: Default: from the environment, see `Configuration`. Each process has a journal of its own, in
                a numbered folder within `configuration.journal`, or in a temporary one where there is none.
            metrics_settings: The metrics file has the values of all processes; the endpoint is this process's.
            processes: How many for each worker, at least 1; or by task type, as in `{"resize": 4}`, the others 1. Each
                runs as many tasks at a time as the worker's `concurrency` says.
            modules: Names of modules or paths of `.py` files, as `conductor-grpc run` takes them; of a package all
                modules in it and below.
            entry_points: A group of entry points to look for workers in, mostly "conductor_grpc.workers".
            middleware: For every poller, see `TaskPoller`.
            resources: For every poller, each of which opens its own, see `TaskPoller`.

        Raises:
            WorkerDefinitionError: There is no worker, or one, a middleware or a resource cannot be run in another
                process.
            ConfigurationError: The configuration cannot be sent to another process, or `processes` cannot be, or an
                environment variable for a worker has no usable value.
        """
        self._workers = deployed(find_all(workers, modules, entry_points))
        self._numbers = numbers_of(processes, self._workers)
        self.configuration = configured(configuration)
        check_metrics_settings(metrics_settings)
        self._metrics_settings = metrics_settings
        check_surroundings(self._workers, middleware, resources or {})
        self._middleware = tuple(middleware)
        self._resources = None if resources is None else dict(resources)
        check_sendable(self._workers, self.configuration, self._middleware, self._resources)
        self._folders = HandlerFolders(self.configuration.journal)
        self._seats: list[Seat] = []
        self._endpoint: HandlerEndpoint | None = None
        self._lifecycle = threading.RLock()
        self._started = False
        self._owner: int | None = None
        """The process that has started the others."""
        self._deadline: Deadline | None = None
        self._report: HandlerReport | None = None
        self._failure: PollerError | None = None
        self._failure_lock = threading.Lock()  # a seat may fail while a failed start, which has the other, joins it
        self._stop_request = StopRequest()
        self._waiting = False
        """In `start_processes` or `join_processes`."""
        self._replaced: dict[int, Any] = {}
        """The handlers of signals that were there before."""

    def start_processes(self) -> None:
        """Start the processes, and wait until all of them poll. Blocks. Starting twice is harmless.

        None polls before all have imported their workers: if one cannot, no task is taken. A server that is not there
        yet is waited for by the pollers, and not by this.

        From now on, where this is called on the main thread and the program has no handler of its own, SIGTERM is a
        SystemExit in the main thread, so that a `with` block stops the processes in order. One that comes during the
        start stops them at once, and `join_processes` returns.

        Raises:
            WorkerDefinitionError: A worker cannot be imported there, or the program's main module starts a handler when
                it is imported.
            JournalError: Another handler, or a poller, has the journal's folder.
            ConfigurationError: Nothing can listen at the metrics' address, for example.
            PollerError: A process died before it could poll; or the handler was stopped before.
        """
        check_main_module(", ".join(repr(worker.task_definition_name) for worker in self._workers))
        with self._lifecycle:
            if self._deadline is not None:
                raise PollerError("this handler was stopped and cannot be started again: make a new one")
            if self._started:
                return
            self._started, self._owner = True, os.getpid()
            self.configuration.configure_logging()
            atexit.register(self.stop_processes)  # before multiprocessing's, which would wait for them for ever
            self._take_signals((signal.SIG_DFL, signal.default_int_handler))
            self._waiting = True
            try:
                self._assemble()
                for seat in self._seats:
                    seat.start()
            except BaseException:
                self.stop_processes(0)
                raise
        try:
            self._wait_until_all_poll()
        finally:
            self._waiting = False
        if any(seat.stopping for seat in self._seats):
            return
        names = ", ".join(seat.process_name for seat in self._seats)
        logger.info("polling %s in %d processes: %s", self.configuration.target, len(self._seats), names)

    def join_processes(self) -> HandlerReport:
        """Wait for SIGTERM or SIGINT (or `stop_processes` from another thread), drain, and report. Blocks.

        After a second signal running tasks have two seconds to end, and after a third none: then they are handed
        back, and run again. Signals are handled only where this is called on the main thread, as Python demands.

        Raises:
            PollerError: The handler was not started; or it has given up, since a process could not be started again.
                What was there was drained.
        """
        if not self._started:
            raise PollerError("there are no processes to wait for: call start_processes() first")
        self._take_signals(None)
        self._waiting = True
        try:
            self._stop_request.wait()
            report = self.stop_processes()
        finally:
            self._waiting = False
            self._give_signals_back()
        if self._failure is not None:
            raise self._failure
        return report

    def stop_processes(self, timeout: float | None = None) -> HandlerReport:
        """Drain all processes by one deadline, and end those that have not ended some seconds after it. Blocks.

        Each hands back what has not begun, finishes what runs and sends every result, as `TaskPoller.stop` does. A
        further call waits for the first and returns the same report; with a `timeout` it moves the deadline up.
        Stopping a handler that was not started is harmless.

        Args:
            timeout: Seconds that running tasks and unsent results get; default `configuration.drain_timeout`.
        """
        if self._owner not in (None, os.getpid()):
            return HandlerReport()  # in a forked child, at its exit: the processes and their journals are its parent's
        with self._lifecycle:
            if self._deadline is None:
                self._deadline = Deadline(self.configuration.drain_timeout if timeout is None else timeout)
            elif timeout is not None:
                self._deadline.shorten(timeout)
            deadline, seats = self._deadline, list(self._seats)
        self._stop_request.hurry(deadline)  # signals may have come before there was a deadline to move
        self._stop_request.make()
        for seat in seats:
            seat.stop_by(deadline)
        for seat in seats:
            while not seat.join(SIGNAL_LOOK):
                pass  # in steps, as in StopRequest.wait
        return self._finish()

    def health(self) -> HandlerHealth:
        """How the handler and its processes are doing, as of their last word, a second ago at most. Never blocks."""
        state: State = "running" if self._started else "not started"
        if self._deadline is not None:
            state = "stopping" if self._report is None else "stopped"
        failure = None if self._failure is None else str(self._failure)
        return health_of(state, failure, tuple(seat.health() for seat in self._seats))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_processes()

    def _assemble(self) -> None:
        """Make what the processes need. Raises ConductorError."""
        settings = self._metrics_settings
        if settings is not None:
            from conductor_grpc.handler.endpoint import HandlerEndpoint  # loads prometheus_client

            if settings.directory is None:
                settings = dataclasses.replace(settings, directory=self._folders.temporary)
            if settings.http_port is not None:
                self._endpoint = HandlerEndpoint(settings, self.health)
                # The port is this process's.
                settings = dataclasses.replace(settings, http_port=None)
        staff = [worker for worker, number in zip(self._workers, self._numbers, strict=True) for _ in range(number)]
        journals = self._folders.open(len(staff))
        for worker, name, journal in zip(staff, names_of(staff), journals, strict=True):
            sent = child_settings(worker, self.configuration, journal, settings, self._middleware, self._resources)
            poll_wait = self.configuration.poll_wait_ms / 1000
            self._seats.append(Seat(name, worker.task_definition_name, sent, journal, poll_wait, self._on_death))
        if self._endpoint is not None:
            self._endpoint.start()

    def _wait_until_all_poll(self) -> None:
        for seat in self._seats:
            self._wait_for(seat, seat.loaded)
        for seat in self._seats:
            seat.go()
        for seat in self._seats:
            self._wait_for(seat, seat.ready)

    def _wait_for(self, seat: Seat, event: threading.Event) -> None:
        while not event.wait(SIGNAL_LOOK) and not self._stop_request.signals:
            pass
        if self._stop_request.signals:
            self.stop_processes()
            return
        failure = seat.failure or self._failure
        if failure is not None:
            self.stop_processes(0)
            raise failure

    def _finish(self) -> HandlerReport:
        """Once all processes have ended."""
        with self._lifecycle:
            if self._report is None:
                left = self._folders.close([seat.journal for seat in self._seats])
                self._report = HandlerReport(
                    tuple(seat.report(number) for seat, number in zip(self._seats, left, strict=True))
                )
                if self._endpoint is not None:
                    self._endpoint.stop()
                atexit.unregister(self.stop_processes)
                self._give_signals_back()
                if self._seats:
                    log = logger.info if self._report.exit_code == 0 else logger.error
                    log("all processes have ended; %s", self._report)
            return self._report

    def _on_death(self, part: str, error: BaseException) -> None:
        with self._failure_lock:
            if self._failure is None:
                self._failure = error if isinstance(error, PollerError) else PollerError(f"{part} died: {error}")
        # On a thread of its own, since a stop joins the one that calls this.
        threading.Thread(target=self.stop_processes, name="conductor-shutdown", daemon=True).start()

    def _take_signals(self, replaceable: tuple[Any, ...] | None) -> None:
        """Handle them, on the main thread; those whose handler is replaceable, None: all."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            now = signal.getsignal(number)
            # None: not set by Python, so Python cannot set it again.
            if number not in self._replaced and now is not None and (replaceable is None or now in replaceable):
                self._replaced[number] = signal.signal(number, self._on_signal)

    def _give_signals_back(self) -> None:
        if threading.current_thread() is threading.main_thread():
            while self._replaced:
                number, handler = self._replaced.popitem()
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        # No locks and no logging here: the interrupted code may hold any of them. The processes' threads look at the
        # deadline by themselves.
        self._stop_request.signalled(self._deadline)
        if self._report is not None or not (self._waiting or self._deadline):
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
