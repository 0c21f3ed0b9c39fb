"""Text that came from user code, made fit to be sent."""

from __future__ import annotations


def bounded(text: str, limit: int) -> str:
    """`text` in at most about `limit` bytes of UTF-8: the middle of a longer one is cut out, and it says so.

    The head tells what it is and the tail of a traceback what went wrong, so both are kept. Lone surrogates
    (from file names, say), which UTF-8 and so protobuf refuse, are written as escapes.
    """
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    half = limit // 2
    head = data[:half].decode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore")
    return f"{head}\n[... {len(data) - 2 * half} bytes left out ...]\n{tail}"
