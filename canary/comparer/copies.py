"""A mirrored request as it is sent on: which headers go along, and under which name of a host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LOOP = "x-canary-comparer"
"""Borne by what a comparer sends. A request that bears it was sent by one, and is not sent on again."""

_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        # Not hop by hop, but written anew for what is sent on.
        "content-length",
        "expect",
        "host",
        "accept-encoding",
        LOOP,
    }
)
"""RFC 9110, section 7.6.1, and what older clients send."""

_SHADOW = re.compile(r"-shadow(:\d+)?$")
"""What Envoy, and so Contour, puts behind the host of a mirrored request; the port may come after it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A request to be sent. `target` is path and query as they came, `/` first. Has credentials in it: neither log nor keep it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Copy({self.method})"


def headers_of(received: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers to send on for those received.

    Those of the connection stay behind, and so do those that `Connection` names. The answer is asked for as it is, not
    compressed: two archives of the same content need not be the same.
    """
    host, dropped, passed = "", _OF_THE_CONNECTION, []
    for name, value in received:
        lower = name.lower()
        if lower == "connection":
            dropped = dropped | {word.strip().lower() for word in value.split(",")}
        elif lower == "host":
            host = _SHADOW.sub(r"\1", value)
        passed.append((lower, value))
    kept = tuple(pair for pair in passed if pair[0] not in dropped)
    named = (("host", host),) if host else ()
    return (*named, *kept, ("accept-encoding", "identity"), (LOOP, "1"))
