"""A JSON list of tasks, read while it arrives: of a long one only as much is kept as its reader keeps."""

from __future__ import annotations

import codecs
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.payload.json_number import json_number

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator

CHUNK: Final = 64 * 1024

_DECODER: Final = json.JSONDecoder(parse_float=json_number)
_BETWEEN: Final = re.compile(r"[\s,]*")


@dataclass
class Listing:
    """What became of reading a list."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    """Those that were wanted."""
    seen: int = 0
    """How many there were."""
    bytes: int = 0
    cut: str = ""
    """Why it was not read to its end; empty if it was."""


class CutShortError(Exception):
    """The list is longer than its reader wants to read, or takes longer. Says which."""


class UnreadableListError(Exception):
    """This is no list of tasks."""


class TaskStream:
    """Iterate once. Raises CutShortError, UnreadableListError, and what reading the response raises."""

    def __init__(self, response: http.client.HTTPResponse, most_bytes: int, seconds: float) -> None:
        """Reads at most so many bytes (a chunk more) for at most so long (one wait for the network more)."""
        self._response = response
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self.bytes = 0
        """How many have been read so far."""
        self.head = b""
        """The first of them."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self._tasks()
        except (ValueError, RecursionError) as error:
            raise UnreadableListError(str(error)) from error

    def _tasks(self) -> Iterator[dict[str, Any]]:
        while not self._text.strip() and self._more():
            pass
        self._text = self._text.lstrip()
        if not self._text.startswith("["):
            raise ValueError("no list")
        at = 1
        while True:
            at = _BETWEEN.match(self._text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self._text.startswith("]", at):
                while self._more():  # to the end of the answer, or the connection would be of no more use
                    self._text = ""
                return
            try:
                task, at = _DECODER.raw_decode(self._text, at)
            except ValueError:
                # Mostly not all of it is there yet.
                self._text, at = self._text[at:], 0
                if not self._more():
                    raise
                continue
            if not isinstance(task, dict):
                raise ValueError("no list of objects")  # noqa: TRY004 - the answer's fault, not a caller's
            yield task

    def _more(self) -> bool:
        """Read on; False at the end."""
        if self.bytes >= self._most_bytes:
            raise CutShortError(f"it is longer than the {self._most_bytes} bytes that are read at most")
        if time.monotonic() > self._until:
            raise CutShortError(f"it takes longer than the {self._seconds:.0f} s that are waited at most")
        # As much again as is there: one task of many megabytes is not to be tried again at every chunk.
        data = self._response.read(max(CHUNK, len(self._text)))
        self.head = self.head or data[:CHUNK]
        self.bytes += len(data)
        self._text += self._decode(data, final=not data)
        return bool(data)
