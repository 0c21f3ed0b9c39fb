"""Where C++ code of your own finds the headers of this package: docs/native.md."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_SOURCES = _PACKAGE.parents[1] / "cpp"
"""In a checkout the headers lie beside the package."""


def get_include() -> str:
    """The folder for the compiler's `-I`: `conductor_grpc/cancellation.hpp` is in it."""
    return str(_folder("include"))


def get_cmake_dir() -> str:
    """The folder for CMake's `conductor_grpc_DIR`: `find_package(conductor_grpc)` works then."""
    return str(_folder("cmake"))


def _folder(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _SOURCES / name
