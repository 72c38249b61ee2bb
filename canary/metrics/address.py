"""Which Prometheus a Rollout may ask. Pure.

The controller sits where its tenants do not: an address in a Rollout is a request to be made on its behalf. So only hosts
that the operator listed are asked, besides the default one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit


def normalise(address: str) -> str:
    """The address as `scheme://host:port/path`. Raises ValueError in words for a person."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"the address {_shown(address)!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the address {_shown(address)!r} is no http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address must not contain a user or a password")
    if parts.query or parts.fragment:
        raise ValueError(
            f"the address {_shown(address)!r} must end with its path: a query or a fragment is not possible"
        )
    port = port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname.lower()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"


def _shown(address: str) -> str:
    """An address that cannot be used, without what may be a password or a token in it."""
    return re.split(r"[?#]", address, maxsplit=1)[0].rpartition("@")[2]


def allowed(address: str, hosts: Collection[str]) -> bool:
    """Whether a normalised `address` is at one of `hosts`: `host` (any port), `host:port`, or `*` for all."""
    parts = urlsplit(address)
    wanted = {host.strip().lower() for host in hosts}
    return "*" in wanted or not wanted.isdisjoint({parts.netloc, parts.hostname or "", parts.netloc.rpartition(":")[0]})
