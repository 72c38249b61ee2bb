"""Pod addresses: what stands in a Pod and an EndpointSlice, and where the replica really listens.

A replica listens on a loopback port of its own, and that port is what its EndpointSlice names. The address beside it is
127.0.0.1, which anybody on this machine can call as it is. A real API server refuses loopback addresses in
EndpointSlices; for such a one every pod gets an address out of a network that no interface here has, and whoever in
this process forwards traffic (the Service forwarder, our Envoy gateway) asks `locate` where that is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from canary.errors import SandboxError

LOOPBACK = "127.0.0.1"
Address = tuple[str, int]
"""(IP address, port)"""
Locate = Callable[[str, int], Address]
"""From what an EndpointSlice says to where the replica really listens."""


def as_written(address: str, port: int) -> Address:
    """The addresses of EndpointSlices can be called as they are."""
    return address, port


class PodNetwork:
    """Hands out the addresses of `cidr` (an IPv4 network such as 10.244.0.0/16), one per pod; the oldest come round again.

    Raises SandboxError when it is not an IPv4 network, or one of loopback addresses.
    """

    def __init__(self, cidr: str) -> None:
        try:
            self._network = ipaddress.IPv4Network(cidr)
        except ValueError as error:
            raise SandboxError(f"pod_network {cidr!r}: {error}") from error
        if self._network.is_loopback or self._network.num_addresses < 4:
            raise SandboxError(f"pod_network {cidr} must not be loopback, and must have room: say 10.244.0.0/16")
        self._last = 0

    def allocate(self) -> str:
        self._last = self._last % (self._network.num_addresses - 2) + 1
        return str(self._network[self._last])

    def locate(self, address: str, port: int) -> Address:
        """Ports of replicas are unique on this machine, so the port alone says which pod it is."""
        inside = ipaddress.ip_address(address) in self._network
        return (LOOPBACK, port) if inside else (address, port)
