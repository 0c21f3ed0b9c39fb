"""The generated stubs of the server's wire contract. Only this file, which loads them, is written by hand.

Importing any of them loads all of them here first. They fail in a few ways that say nothing to the user to
whom it happens (another set of Conductor stubs in the process, a grpcio or protobuf that is too old): those
become an ``ImportError`` that says what was found and what to do.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

SERVICES = ("event", "metadata", "task", "workflow")
CLASH_SIGNS = ("duplicate symbol", "duplicate file name", "Conflict register")
"""Words of protobuf's TypeError, compiled and pure Python, when a name has two definitions in one process."""


def load() -> None:
    try:
        for service in SERVICES:
            importlib.import_module(f"{__name__}.services.{service}_service_pb2_grpc")
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        raise ImportError(message, name=__name__) from error


def explain(error: Exception) -> str | None:
    """What the user should read in place of the error; None if its own text is the best there is."""
    text = str(error)
    if isinstance(error, TypeError) and any(sign in text for sign in CLASH_SIGNS):
        return clash_message(text)
    # VersionError is protobuf's, RuntimeError grpc's; a protobuf before 5.26 lacks the module that checks.
    if type(error).__name__ == "VersionError" or (isinstance(error, RuntimeError) and "grpc" in text):
        return version_message()
    if isinstance(error, ImportError) and "runtime_version" in text:
        return version_message()
    if isinstance(error, ModuleNotFoundError) and str(error.name).startswith(__name__):
        return (
            f"{error.name} does not exist: the stubs are generated when the package is built. Install it "
            "(`pip install .`, or `pip install -e .` for development) instead of running its source tree."
        )
    return None


def clash_message(text: str) -> str:
    return (
        "Another set of Conductor's protobuf stubs is loaded in this process, and protobuf allows only one "
        f"definition of a name. Found: {other_stubs()}. Use the stubs in conductor_grpc.pb in place of that "
        f"set, or keep the two in different processes. protobuf said: {text.strip()}"
    )


def other_stubs() -> str:
    """The stub modules, other than ours, that define names of Conductor's packages."""
    others = sorted(
        f"{name} ({getattr(module, '__file__', None) or 'no file'})"
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and not name.startswith(f"{__name__}.")
        and getattr(vars(module).get("DESCRIPTOR"), "package", "").startswith("conductor.")
    )
    if not others:
        return "no such module, so it is not loaded any more"
    return others[0] if len(others) == 1 else f"{others[0]} and {len(others) - 1} more modules"


def version_message() -> str:
    found = " and ".join(
        f"{name} {getattr(sys.modules.get(module), '__version__', 'of unknown version')}"
        for name, module in (("grpcio", "grpc"), ("protobuf", "google.protobuf"))
    )
    needed = runtime_requirements()
    if not needed:
        return f"Found {found}: too old for these stubs. Run `pip install --upgrade grpcio protobuf`."
    command = " ".join(f'"{one}"' for one in needed)
    return f"Found {found}, but the stubs need {' and '.join(needed)}. Run `pip install {command}`."


def runtime_requirements() -> list[str]:
    """Those on the runtimes of the stubs; none if this is a copy of the folder and not an installation."""
    from importlib.metadata import PackageNotFoundError, requires  # slow to import, and seldom needed

    try:
        stated = requires("conductor-grpc-client") or []
    except PackageNotFoundError:
        return []
    return [one for one in stated if one.startswith(("grpcio", "protobuf")) and ";" not in one]


load()
