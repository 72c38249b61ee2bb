"""Signature Version 4, by which Amazon's services know who asks. Pure.

As their documentation has it ("Signing AWS API requests", "Create a signed request"): a digest of the request, the day, the region
and the service, keyed by the secret key, which is not sent. What is signed here has no query and no chunks.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from urllib.parse import quote

import httpx

from canary.metrics.credentials import KeyPair

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a signature holds: a region, and a service by the name that signatures have for it."""

    region: str
    service: str


def signature(
    method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes, keys: KeyPair, scope: Scope, now: datetime
) -> dict[str, str]:
    """The headers that are sent besides `headers`: Authorization, the time, and the token of temporary keys.

    Signed are the method, the path, the host, the body, the time, the token and the type of the content, so nobody on the way can make
    another request of it. `now` has to be the time of day within a few minutes.
    """
    at = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": at} | ({"X-Amz-Security-Token": keys.token} if keys.token else {})
    given = {name.lower(): value for name, value in {**headers, **added}.items()}
    signed = {name: value for name, value in given.items() if name == "content-type" or name.startswith("x-amz-")}
    signed["host"] = url.netloc.decode("ascii")
    names = sorted(signed)
    lines = [f"{name}:{' '.join(signed[name].split())}\n" for name in names]
    path = quote(url.raw_path.partition(b"?")[0], safe="/-_.~")
    request = "\n".join((method, path, "", "".join(lines), ";".join(names), hashlib.sha256(body).hexdigest()))
    place = (at[:8], scope.region, scope.service, "aws4_request")
    text = "\n".join((_ALGORITHM, at, "/".join(place), hashlib.sha256(request.encode()).hexdigest()))
    key = reduce(_digest, place, f"AWS4{keys.secret}".encode())
    found = _digest(key, text).hex()
    credential = "/".join((keys.identity, *place))
    return {
        "Authorization": f"{_ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={found}",
        **added,
    }


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
