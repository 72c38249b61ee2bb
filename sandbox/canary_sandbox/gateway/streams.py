"""Listeners of connections (TCP, TLS by SNI, UDP by address and port): which route gets them, and in which shares. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from canary_sandbox.gateway.rules import UNRESOLVED_CLUSTER

Shares = tuple[tuple[str, int], ...]
"""(cluster, weight) of each backend, weights above 0."""

NOBODY: Shares = ((UNRESOLVED_CLUSTER, 1),)
"""Where connections go that nobody serves: closed at once."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A listener of connections: shares by the server name that a client asks for; "*" stands for every one.

    `udp`: a connection is all datagrams of one address and port, as long as some come.
    """

    tls: bool
    shares: tuple[tuple[str, Shares], ...]
    udp: bool = False


def stream(protocol: str, served: Iterable[tuple[str, Shares]]) -> Stream:
    """The stream of a listener by (hostname, shares) of its routes; without any, connections are closed at once."""
    chains = tuple((hostname, shares or NOBODY) for hostname, shares in sorted(served))
    return Stream(protocol == "TLS", chains or (("*", NOBODY),), udp=protocol == "UDP")
