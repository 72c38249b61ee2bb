"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com): a receiver verifies with a library. Pure.

What is signed is `ID.TIMESTAMP.BODY`: the headers webhook-id and webhook-timestamp as they are sent, and the bytes of the body. So
neither can be exchanged, and what is sent again later has an old time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

SHORTEST, LONGEST = 16, 1024
"""Bytes of a secret."""

_PREFIX = "whsec_"


def secret_of(text: bytes) -> bytes:
    """What a key of a Secret holds: bytes, or whsec_ and base64 of them; a line's end does not count. Raises ValueError."""
    found = text.strip(b"\r\n ")
    if found.startswith(_PREFIX.encode()):
        try:
            found = base64.b64decode(found.removeprefix(_PREFIX.encode()), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {_PREFIX} is no base64") from None
    if not SHORTEST <= len(found) <= LONGEST:
        raise ValueError(f"a secret has {SHORTEST} to {LONGEST} bytes; `openssl rand -base64 32` prints one")
    return found


def headers(secret: bytes, id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that say whose it is. `timestamp` is in seconds since 1970."""
    signed = hmac.new(secret, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
