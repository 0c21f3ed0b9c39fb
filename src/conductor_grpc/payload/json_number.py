"""How a number in JSON text is read."""

from __future__ import annotations


def json_number(text: str) -> int | float:
    """A number with a point or an exponent, read as from gRPC: int if it is whole and exact.

    A value keeps its type that way whichever way it comes: `3`, sent over gRPC, is stored as `3.0`.
    """
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value
