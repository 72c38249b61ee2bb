"""The services of apprise that may be used, by our names for them, and where each leads. Pure.

Whoever allows a service whose hosts are its own allows these hosts. Where a URL says the host, it has to be an allowed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """`schemes` of its URLs, and the `hosts` that it has itself; without any, the URL says which."""

    schemes: tuple[str, ...]
    hosts: tuple[str, ...] = ()


SERVICES: Mapping[str, Service] = {
    "slack": Service(("slack",), ("hooks.slack.com:443", "slack.com:443")),
    "msteams": Service(
        ("msteams", "workflows", "workflow"),
        (".webhook.office.com:443", ".logic.azure.com:443", ".api.powerplatform.com:443"),
    ),
    "discord": Service(("discord",), ("discord.com:443",)),
    "mailto": Service(("mailto", "mailtos")),
    "webhook": Service(("json", "jsons")),
}
"""Those that were looked at: what their plugins do with a URL, and which hosts they ask."""

DEFAULT = tuple(SERVICES)


def scheme_of(url: str) -> str:
    """The scheme of a URL of apprise, in lower case; empty: it has none."""
    scheme, separator, _ = url.strip().partition("://")
    return scheme.lower() if separator and scheme.isascii() and scheme.isalnum() else ""


def service_of(url: str, allowed: Iterable[str]) -> Service:
    """The service that a URL names. Raises ValueError, in words that tell nothing of the URL."""
    allowed = tuple(allowed)
    scheme = scheme_of(url)
    for name in allowed:
        if scheme in SERVICES[name].schemes:
            return SERVICES[name]
    listed = ", ".join(f"{scheme}://" for name in allowed for scheme in SERVICES[name].schemes) or "none"
    raise ValueError(f"it is no URL of a service that may be used; these begin with {listed} (--notify-services)")
