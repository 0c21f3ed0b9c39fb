"""Public names of a package that are loaded when they are first asked for.

pytest imports this package at every start, in whatever project it is installed, to see what fixtures it has. That
must cost next to nothing, and must not load modules before somebody's coverage has begun to measure them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def loading(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package. Thread-safe.

    Args:
        package: Its `__name__`.
        homes: In which of its modules each name is. A name that is its own home is a module.
    """

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{home}")
        value: object = module if home == name else getattr(module, name)
        vars(sys.modules[package])[name] = value  # Python does not ask again
        return value

    return load
