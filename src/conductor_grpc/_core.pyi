from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, final

from typing_extensions import Buffer, CapsuleType

from conductor_grpc.payload.plain import JsonValue

__version__: Final[str]

def get_sum(a: int, b: int) -> int:
    """The sum of two 32-bit integers, computed without the GIL.

    Raises TypeError for anything but an int (bool included) and OverflowError if an argument or the sum does not
    fit in 32 bits.
    """

def encode_map(
    mapping: Mapping[str, object] | object, field_number: int, big_integers: Literal["error", "string"] | str = "error"
) -> bytes:
    """The wire bytes of a `map<string, google.protobuf.Value>` field: one entry per key.

    `mapping` is a dict or becomes one by `payload.plain.to_plain`. An integer beyond 2**53 is an error or, with
    `big_integers="string"`, text. Of two keys with the same text (an enum's and a str) the later wins.

    Raises PayloadEncodeError, whose `path` leads to the value at fault; ValueError for a bad field number or
    `big_integers`. Runs conversions of the values' types; safe to call from several threads.
    """

def decode_map(data: Buffer, field_number: int) -> dict[str, JsonValue]:
    """All entries of a `map<string, google.protobuf.Value>` field of the message `data`; other fields are skipped.

    Reads what protobuf reads: of duplicate keys and of several kinds in one Value the last wins, unknown fields
    are skipped. A Value without a kind is None. Values may nest 100 levels deep. Stricter than protobuf: groups
    and wrong wire types of known fields are errors.

    Raises PayloadDecodeError, TypeError if `data` is not bytes-like, ValueError for a bad field number.
    """

@final
class Layout:
    """Which fields to take from a message, by number and kind. Immutable; safe to share between threads.

    | kind | Python | absent | field of the message |
    |---|---|---|---|
    | `string` | str | `""` | string |
    | `int` | int, 64 bits with sign | `0` | int32, int64, enum (not sint, fixed, unsigned beyond 2**63) |
    | `bool` | bool | `False` | bool |
    | `bytes` | bytes | `b""` | bytes, or a message left encoded (of several the last, not merged) |
    | `value_map` | dict[str, JsonValue] | `{}` | map<string, google.protobuf.Value> |
    | `string_map` | dict[str, str] | `{}` | map<string, string> |
    | `messages` | list[bytes] | `[]` | repeated message or bytes |
    | `strings` | list[str] | `[]` | repeated string |
    """

    def __init__(self, fields: Iterable[tuple[int, str]]) -> None:
        """`fields`: (field number, kind). Raises ValueError for an unknown kind, a bad or a repeated number."""

    @property
    def fields(self) -> tuple[tuple[int, str], ...]:
        """As given."""

    def decode(self, data: Buffer) -> tuple[Any, ...]:
        """One value per field, in the order of the layout. Raises PayloadDecodeError, TypeError."""

    def encode(self, values: Sequence[object], big_integers: Literal["error", "string"] | str = "error") -> bytes:
        """`values`: a list or tuple with one value per field. None and the absent value are left out.

        Raises PayloadEncodeError (its `path` starts with the key within a map, and is "" for a plain field),
        ValueError for a wrong number of values or a bad `big_integers`, TypeError if `values` is no list or tuple.
        """

@final
class CancellationFlag:
    """Tells code that runs without the interpreter's lock that its task was cancelled: an atomic, false at first.

    A C++ function takes it as a `conductor_grpc::Cancellation`, see docs/native.md. Thread-safe; never blocks.
    """

    def __init__(self) -> None: ...
    def set(self) -> None:
        """For good: a flag is not used again."""

    def is_set(self) -> bool: ...
    @property
    def capsule(self) -> CapsuleType:
        """The address of the flag, a `const std::atomic<bool>*` under the name `conductor_grpc.cancellation`.

        For any other way of binding than pybind11. Valid while the capsule lives, which keeps the flag alive.
        """
