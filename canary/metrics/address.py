"""How addresses are spelt: one way for each, so that nobody reads another host in it than we do. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from canary.metrics.hosts import is_host


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
    if not is_host(parts.hostname):
        raise ValueError(f"the host {parts.hostname!r} is neither a name, in ASCII, nor an IP address")
    if parts.query or parts.fragment:
        raise ValueError(
            f"the address {_shown(address)!r} must end with its path: a query or a fragment is not possible"
        )
    port = port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname.lower().rstrip(".")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"


def _shown(address: str) -> str:
    """An address that cannot be used, without what may be a password or a token in it."""
    return re.split(r"[?#]", address, maxsplit=1)[0].rpartition("@")[2]
