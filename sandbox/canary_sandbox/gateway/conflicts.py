"""Routes that cannot share a listener: the oldest keeps it, and the others are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from canary_sandbox.gateway.attach import common_hostnames
from canary_sandbox.gateway.objects import RouteKey


@dataclass(frozen=True, slots=True)
class Claim:
    """That a route wants these hostnames of a listener ("*": every one); `created` as the API server wrote it."""

    key: RouteKey
    created: str
    hostnames: tuple[str, ...]

    @property
    def age(self) -> tuple[object, ...]:
        """The API's order: the older creation time first, then by namespace and name."""
        kind, namespace, name = self.key
        return (self.created, namespace, name, kind)

    @property
    def title(self) -> str:
        kind, namespace, name = self.key
        return f"{kind} {namespace}/{name}"


def settle(protocol: str, claims: Iterable[Claim]) -> Iterator[tuple[Claim, str]]:
    """Every claim, the oldest first, with the hostnames that it gets, or with none and the reason why in words."""
    rule = _RULES[protocol]
    won: list[Claim] = []
    for claim in sorted(claims, key=lambda item: item.age):
        got, why = rule(claim, won)
        granted = Claim(claim.key, claim.created, got)
        if got:
            won.append(granted)
        yield granted, why


def _http(claim: Claim, won: list[Claim]) -> tuple[tuple[str, ...], str]:
    """By the API: a hostname belongs to HTTPRoutes or to GRPCRoutes, never to both."""
    for other in won:
        if other.key[0] != claim.key[0]:
            for hostname in other.hostnames:
                if common_hostnames(hostname, claim.hostnames):
                    return (), f"{other.title} is older, of another kind, and has the hostname {hostname}"
    return claim.hostnames, ""


def _tcp(claim: Claim, won: list[Claim]) -> tuple[tuple[str, ...], str]:
    """Nothing tells one connection from another, or one datagram, so the listener has one route."""
    return ((), f"{won[0].title} is older and has the whole listener") if won else (claim.hostnames, "")


def _tls(claim: Claim, won: list[Claim]) -> tuple[tuple[str, ...], str]:
    taken = {hostname: other for other in won for hostname in other.hostnames}
    free = tuple(hostname for hostname in claim.hostnames if hostname not in taken)
    return (free, "") if free else ((), f"{taken[claim.hostnames[0]].title} is older and has its hostnames")


_RULES: dict[str, Callable[[Claim, list[Claim]], tuple[tuple[str, ...], str]]] = {
    "HTTP": _http,
    "TCP": _tcp,
    "TLS": _tls,
    "UDP": _tcp,
}
