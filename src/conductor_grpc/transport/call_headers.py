"""Headers that go with every call: gRPC metadata, and HTTP headers of the same name over REST."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from conductor_grpc.errors import ConfigurationError

TOKEN_HEADER = "x-authorization"

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_RESERVED = frozenset(
    {"accept", "connection", "content-length", "content-type", "host", "te", "transfer-encoding", "user-agent"}
)
_CREDENTIAL = re.compile(r"auth|token|secret|key|cookie|passw|credential|session|signature")


class CallHeaders(Mapping[str, str]):
    """The headers of a configuration: immutable, hashable, names in lower case. Its repr holds no value."""

    __slots__ = ("_items",)

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        """Raises ConfigurationError for what cannot be sent; its message never holds a value."""
        if headers is not None and not isinstance(headers, Mapping):
            raise ConfigurationError(f"headers is a {type(headers).__name__}: expected a dict of names and values")
        checked: dict[str, str] = {}
        for name, value in (headers or {}).items():
            good = _checked_name(name)
            if good in checked:
                raise ConfigurationError(f"headers: {name!r} is there twice; upper and lower case do not differ")
            checked[good] = _checked_value(good, value)
        self._items = tuple(checked.items())

    @property
    def credentials(self) -> list[str]:
        """The names that, by their look, stand for something secret."""
        return [name for name, _ in self._items if _CREDENTIAL.search(name)]

    def __getitem__(self, name: str) -> str:
        for each, value in self._items:
            if each == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self._items])

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, CallHeaders) else NotImplemented

    def __reduce__(self) -> tuple[type[CallHeaders], tuple[dict[str, str]]]:
        return CallHeaders, (dict(self._items),)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: ***" for name, _ in self._items) + "}"


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name.lower()) or not name.isascii():
        raise ConfigurationError(
            f"headers: {name!r} is not the name of a header; expected letters, digits and any of '-_.', such as"
            " 'x-tenant'"
        )
    name = name.lower()
    if name.endswith("-bin"):
        raise ConfigurationError(f"headers: {name!r}: gRPC takes names in '-bin' for binary values; use another name")
    if name.startswith("grpc-") or name in _RESERVED:
        raise ConfigurationError(f"headers: {name!r} is set by gRPC and HTTP themselves; leave it out")
    return name


def _checked_value(name: str, value: object) -> str:
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        problem = f"is a {type(value).__name__}" if not isinstance(value, str) else "is empty or cannot be sent"
        raise ConfigurationError(
            f"headers: the value of {name!r} {problem}: expected printable ASCII characters without blanks around"
            " them (a value read from a file may end in a newline)"
        )
    return value
