"""Which TCP ports are free on this machine."""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import socket

# Below the range from which Linux takes the local port of an outgoing connection (32768 and up): a port
# handed out from there could be taken by any connection before the server binds it.
_LOWEST, _HIGHEST = 20000, 32000


def is_free(port: int) -> bool:
    """Whether a server could listen on the port, on every interface, IPv4 and IPv6 alike."""
    wildcards = [(socket.AF_INET, "0.0.0.0")]
    if socket.has_ipv6:
        wildcards.append((socket.AF_INET6, "::"))
    return all(_can_bind(family, address, port) for family, address in wildcards)


def free_ports(count: int) -> list[int]:
    """That many distinct free ports, drawn at random so that two callers seldom draw the same.

    Nothing reserves them: bind them soon.
    """
    candidates = random.sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST)
    free = list(itertools.islice(filter(is_free, candidates), count))
    if len(free) < count:
        raise OSError(errno.EADDRINUSE, f"no {count} free ports between {_LOWEST} and {_HIGHEST}")
    return free


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        except OSError:
            return True  # this machine has no such family, so nobody can be in the way on it
        # As Java does: connections of a server just stopped, still in TIME_WAIT, are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
