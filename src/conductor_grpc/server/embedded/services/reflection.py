"""Server reflection, v1alpha as on the released server, with the package `grpcio-reflection` if it is there.

It belongs to the extra `server`. Without it all else works, and a call of reflection says what is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import grpc

SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"

_MISSING: Final = (
    "this embedded server has no reflection, which needs the package grpcio-reflection: "
    "pip install 'conductor-grpc-client[server]'"
)


def enable(server: grpc.Server, services: Sequence[str]) -> Mapping[str, str]:
    """Let the server tell of these services and of reflection itself, before it is started.

    Returns what to say of calls that it cannot answer, by the service's path: nothing where the package is there.
    """
    try:
        # By name: what it has no types for is Any, whether it is installed where types are checked or not.
        reflection: Any = importlib.import_module("grpc_reflection.v1alpha.reflection")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("grpc_reflection"):
            raise
        return {f"/{SERVICE}": _MISSING}
    reflection.enable_server_reflection((*services, SERVICE), server)
    return {}
