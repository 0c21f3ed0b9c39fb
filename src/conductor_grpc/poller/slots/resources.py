"""The resources of a poller's own process: who opens them, keeps them and closes them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import ResourceError
from conductor_grpc.worker.resources import ResourceMap, ResourceStack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from conductor_grpc.poller.slots.event_loop import EventLoop
    from conductor_grpc.worker.resources import ResourceFactory

logger = logging.getLogger(__name__)

LOOK: Final = 0.2
"""Seconds after which a wait for resources looks whether it is of any use, or out of time."""


class ResourceKeeper:
    """Opens and closes resources on one thread of its own, so that a hanging one hangs nothing else; async ones live
    on the event loop of the async workers, each in an asyncio task that enters and exits it. Runs once."""

    def __init__(self, factories: Mapping[str, ResourceFactory], loop: Callable[[], EventLoop]) -> None:
        self._factories = factories
        self._loop = loop
        self._stack = ResourceStack(self._hold)
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._failure: ResourceError | None = None
        self._errors: list[str] = []
        self._thread = threading.Thread(target=self._main, name="conductor-resources", daemon=True)

    def open(self, of_no_use: Callable[[], bool]) -> ResourceMap:
        """Blocks until all are open. `close` must be called in any case.

        Raises:
            ResourceError: One could not be opened, or `of_no_use` was true meanwhile.
        """
        self._thread.start()
        while not self._settled.wait(LOOK):
            if of_no_use():
                raise ResourceError(f"the poller was stopped while resource {self._stack.busy_with!r} was being opened")
        if self._failure is not None:
            raise self._failure
        return self._stack.values

    def close(self, left: Callable[[], float]) -> list[str]:
        """Close those that are open, in the reverse order; blocks while there is time `left`, in seconds. Returns in
        words what has gone wrong, which is logged as well."""
        self._closing.set()
        if self._thread.ident is None:
            return []
        began = time.monotonic()
        while self._thread.is_alive() and (seconds := left()) > 0:
            self._thread.join(min(seconds, LOOK))
        errors = list(self._errors)
        if self._thread.is_alive():
            what = "closed" if self._settled.is_set() else "opened"
            waited = time.monotonic() - began
            late = f"resource {self._stack.busy_with!r} was not {what} within {waited:.1f} s and is left as it is"
            logger.error("%s", late)
            errors.append(late)
        return errors

    def _main(self) -> None:
        try:
            self._stack.open(self._factories, self._closing.is_set)
        except ResourceError as error:
            self._failure = error
        self._settled.set()
        if self._failure is None:
            self._closing.wait()
        self._errors.extend(self._stack.close())

    def _hold(self, make: Callable[[], AbstractAsyncContextManager[Any]]) -> tuple[Any, Callable[[], None]]:
        loop = self._loop()
        opened: concurrent.futures.Future[Any] = concurrent.futures.Future()
        closing = asyncio.Event()

        async def hold() -> None:
            # Entered and exited by the same asyncio task, as task groups and cancel scopes inside of it demand.
            async with make() as value:
                opened.set_result(value)
                await closing.wait()

        name = self._stack.busy_with

        def tell(ended: concurrent.futures.Future[None]) -> None:
            if opened.done() and not closing.is_set():
                error = "it was cancelled" if ended.cancelled() else repr(ended.exception())
                logger.error("resource %r has ended while workers use it: %s", name, error)

        ended = loop.submit(hold())
        ended.add_done_callback(tell)
        concurrent.futures.wait([opened, ended], return_when=concurrent.futures.FIRST_COMPLETED)
        if not opened.done():
            ended.result()  # raises why
            raise ResourceError("it was closed before it was open")

        def leave() -> None:
            loop.call(closing.set)
            ended.result()

        return opened.result(), leave
