"""What the server and its UI are told about a worker's exception."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

_OWN_PACKAGE: Final = __name__.partition(".")[0] + "."

_MAX_FRAMES: Final = -50
"""The last ones: nearest to where it went wrong. The text is bounded again before it is sent."""


def reason_of(error: BaseException) -> str:
    """`ValueError: text`, or `ValueError` where the exception has no text."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ of user code must not hide the failure itself
        text = "(its text cannot be read: __str__ failed)"
    return f"{name}: {text}" if text else name


def traceback_of(error: BaseException) -> str:
    """The traceback as Python prints it, from the first frame of user code on, causes included."""
    try:
        formatted = traceback.TracebackException(
            type(error), error, _user_frames(error.__traceback__), limit=_MAX_FRAMES
        )
        return "".join(formatted.format()).rstrip("\n")
    except Exception:  # noqa: BLE001 - formatting runs user code (__str__, __repr__, __cause__)
        return reason_of(error)


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_own(frames.tb_frame.f_globals.get("__name__")):
        frames = frames.tb_next
    return frames


def _is_own(module: object) -> bool:
    return isinstance(module, str) and module.startswith(_OWN_PACKAGE)
