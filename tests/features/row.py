"""One row of the tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """What another worker SDK can do. Tests that show it here carry `feature(name)`."""

    name: str
    here: str
    """How it is here, in a short phrase; where it is not there, why not."""
    page: str = ""
    """The page in docs/, perhaps with an anchor, that tells more."""
    absent: bool = False
    """It is not there, so no test shows it."""


@dataclass(frozen=True)
class Bug:
    """What is wrong with another worker SDK. Tests that fail once it is put in here carry `bug(name)`."""

    name: str
    what: str
    """What happens there."""
    here: str
    """Why it cannot happen here."""
    absent: bool = False
    """There is nothing here in which it could be, so no test looks for it."""
