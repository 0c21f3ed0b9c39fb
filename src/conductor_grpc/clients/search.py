"""What the searches of tasks and of workflows have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from conductor_grpc.clients.base import ServiceClient
from conductor_grpc.payload import Layout
from conductor_grpc.pb.services import search_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Unpack

Result = TypeVar("Result")

_PAGE = Layout([(1, "int"), (2, "messages")])


class SearchOptions(TypedDict, total=False):
    """Keyword arguments of every search."""

    free_text: str
    """Words to be found anywhere, where the server's index supports that; default: none."""
    sort: str | Iterable[str]
    """`field:ASC` or `field:DESC`, one or several; default: the server's order."""
    start: int
    """How many hits to leave out; default: 0."""
    size: int
    """How many hits at most, default 100. The server's limit is 5000 unless it is configured otherwise."""
    timeout: float | None
    """Seconds for the call; default: the configuration's `call_timeout`."""


@dataclass(frozen=True)
class SearchResult(Generic[Result]):
    """One page of a search."""

    total_hits: int
    """How many match in all, on this page and the others."""

    results: tuple[Result, ...]
    """Those on this page."""


class SearchingClient(ServiceClient):
    """A client of a service that has searches."""

    def _search(
        self, method: str, read: Callable[[bytes], Result], query: str, options: SearchOptions
    ) -> SearchResult[Result]:
        return search_result(self._call(method, search_request(query, **options), options.get("timeout")), read)


def search_request(query: str, **options: Unpack[SearchOptions]) -> search_pb2.Request:
    """The request of all searches. Raises ValueError for a page that cannot be, TypeError for an unknown option."""
    unknown = options.keys() - SearchOptions.__annotations__
    if unknown:
        raise TypeError(f"unknown {', '.join(sorted(unknown))}: expected {', '.join(SearchOptions.__annotations__)}")
    start, size = options.get("start", 0), options.get("size", 100)
    if start < 0 or size < 1:
        # 0 would mean the server's maximum, 5000 by default, which nobody means who says 0.
        raise ValueError(f"start {start} and size {size}: expected start >= 0 and size >= 1")
    sort = options.get("sort", "")
    return search_pb2.Request(
        query=query,
        free_text=options.get("free_text", ""),
        sort=sort if isinstance(sort, str) else "|".join(sort),
        start=start,
        size=size,
    )


def search_result(data: bytes, read: Callable[[bytes], Result]) -> SearchResult[Result]:
    """The page in a serialised answer to one of the searches."""
    values: Any = _PAGE.decode(data)
    return SearchResult(values[0], tuple(map(read, values[1])))
