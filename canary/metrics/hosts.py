"""Where requests may go: hosts, suffixes and networks that the operator listed. Pure.

The controller sits where its tenants do not, so an address in a Rollout is a request to be made on its behalf. What a name says is
looked at before it is resolved, and what it resolves to before anything is sent there (`connecting`): a name that is allowed today
may lead to a cloud's metadata tomorrow. Loopback, link-local, metadata and other addresses of no ordinary server are allowed
only where the operator listed them as addresses: neither a name nor `*` nor a network that is wider brings them along.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LOCAL = "localhost"
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # most clouds; link-local as well
            "fd00:ec2::254",  # AWS
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle
        ),
    )
)
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "127.0.0.0/8",
            "169.254.0.0/16",
            "0.0.0.0/8",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::1/128",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class _Name:
    """A host, or if it begins with a dot all below it; `port` None: any."""

    text: str
    port: int | None

    def is_for(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host.endswith(self.text) if self.text.startswith(".") else host == self.text


@dataclass(frozen=True, slots=True)
class _Range:
    network: Network
    port: int | None

    def is_for(self, address: IpAddress, port: int) -> bool:
        if self.port not in (None, port) or address.version != self.network.version or address not in self.network:
            return False
        return not special(address) or self.network.num_addresses == 1 or _within_special(self.network)


@dataclass(frozen=True, slots=True)
class Hosts:
    """What is allowed. Made by `read`."""

    names: tuple[_Name, ...] = ()
    ranges: tuple[_Range, ...] = ()
    any_name: bool = False

    @classmethod
    def read(cls, entries: Iterable[str]) -> Self:
        """Of `host`, `host:port`, `.suffix`, `.suffix:port`, an address with or without a port, a network (CIDR), or `*`.

        Raises ValueError, in words for a person.
        """
        names: list[_Name] = []
        ranges: list[_Range] = []
        any_name = False
        for entry in entries:
            text = entry.strip().lower()
            if text == "*":
                any_name = True
                continue
            found = _range(text) or _name(text)
            if found is None:
                raise ValueError(
                    f"{entry!r} is no host, such as prometheus.monitoring or prometheus.monitoring:9090, no suffix, such as "
                    ".example.com, and no network, such as 10.0.0.0/8"
                )
            (ranges if isinstance(found, _Range) else names).append(found)  # type: ignore[arg-type]
        return cls(tuple(names), tuple(ranges), any_name)

    def plus(self, address: str | None) -> Hosts:
        """These, and the host and port of a normalised address."""
        if address is None:
            return self
        host, port = place(address)
        own = _range(_bracketed(host, port)) or _Name(host, port)
        if isinstance(own, _Range):
            return Hosts(self.names, (*self.ranges, own), self.any_name)
        return Hosts((*self.names, own), self.ranges, self.any_name)

    def names_it(self, address: str) -> bool:
        """Whether a normalised address is allowed by its text alone."""
        host, port = place(address)
        literal = _ip(host)
        return self._lists(literal, port) if literal is not None else self._by_name(host, port)

    def may_name(self, address: str) -> bool:
        """Whether a normalised address may turn out to be allowed: by its text, or by what its name resolves to."""
        host, port = place(address)
        if _ip(host) is None and any(one.port in (None, port) for one in self.ranges):
            return True
        return self.names_it(address)

    def refusal(self, host: str, port: int, peer: str) -> str:
        """Why nothing may be sent to `peer`, the IP address that a host resolves to; empty: it may."""
        address = _ip(peer)
        if address is None:
            return f"{host} leads to {peer!r}, which is no IP address"
        host = host.lower().rstrip(".")
        if self._lists(address, port):
            return ""
        if not self._by_name(host, port) or _ip(host) is not None:
            return f"{host} leads to {address}, which is not among the allowed hosts"
        if not special(address) or (host == _LOCAL and plain(address).is_loopback and not self._only_any(host, port)):
            return ""
        return (
            f"{host} leads to {address}, which is a loopback, link-local or metadata address: these are asked only where "
            "--allow-hosts lists the address itself"
        )

    def may_be_a_pod(self, peer: str, port: int) -> bool:
        """Whether an IP address that is said to be a pod's may be asked: an ordinary one, or one that is listed itself."""
        address = _ip(peer)
        if address is None or "%" in peer:
            return False
        return not special(address) or self._lists(address, port)

    def _lists(self, address: IpAddress, port: int) -> bool:
        if any(one.is_for(address, port) or one.is_for(plain(address), port) for one in self.ranges):
            return True
        return self.any_name and not special(address)

    def _by_name(self, host: str, port: int) -> bool:
        return self.any_name or any(one.is_for(host, port) for one in self.names)

    def _only_any(self, host: str, port: int) -> bool:
        return not any(one.text == host and one.is_for(host, port) for one in self.names)


def place(address: str) -> tuple[str, int]:
    """Host and port of a normalised address."""
    parts = urlsplit(address)
    return (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)


def is_host(text: str) -> bool:
    """Whether that may stand in a URL as a host: a name in ASCII, or an IP address without brackets and zone."""
    return _NAME.fullmatch(text.rstrip(".")) is not None or ("%" not in text and _ip(text) is not None)


def plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address leads to, where it is one of those."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if int(address) >> 32 == 0 and int(address) > 1:  # ::127.0.0.1, as IPv4-compatible addresses were written
            return ipaddress.IPv4Address(int(address))
    return address


def special(address: IpAddress) -> bool:
    """Whether it is none of an ordinary server: this machine, this link, a cloud's metadata, nobody's, or everybody's."""
    found = plain(address)
    return (
        found.is_loopback
        or found.is_link_local
        or found.is_unspecified
        or found.is_multicast
        or found.is_reserved
        or found in _METADATA
        or (found.version == 4 and int(found) >> 24 == 0)  # "this network": Linux connects some of it to itself
    )


def _within_special(network: Network) -> bool:
    """Whether somebody who lists it can mean nothing else."""
    return any(network.version == one.version and network.subnet_of(one) for one in _SPECIAL)  # type: ignore[arg-type]


def _bracketed(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ip(text: str) -> IpAddress | None:
    if "%" in text:  # a zone: an address of a link
        text = text.partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _range(text: str) -> _Range | None:
    host, port = _split(text)
    if host is None:
        return None
    try:
        return _Range(ipaddress.ip_network(host.strip("[]"), strict=False), port)
    except ValueError:
        return None


def _name(text: str) -> _Name | None:
    host, port = _split(text.removeprefix("*") if text.startswith("*.") else text)
    if host is None or not _NAME.fullmatch(host.removeprefix(".").rstrip(".")):
        return None
    return _Name(host.rstrip("."), port)


def _split(text: str) -> tuple[str | None, int | None]:
    """Host and port, if there is one; (None, None): neither."""
    if text.startswith("["):
        host, closing, rest = text.partition("]")
        if not closing or (rest and not rest.startswith(":")):
            return None, None
        host += closing
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            return None, None
    else:
        return text, None
    if not port:
        return host, None
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) <= 65535:
        return None, None
    return host, int(port)
