"""CloudEvents over HTTP(S), by httpx: to allowed hosts only, bounded in time and size, and no redirect, cookie or proxy is followed.

Of an answer only the status counts. Its body is not read, whatever its size.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx

from canary import __version__
from canary.checks.sources.auth import Auth
from canary.metrics.address import normalise
from canary.metrics.connecting import PeerRefused
from canary.metrics.credentials import Shown
from canary.metrics.guarded import GuardedTransport
from canary.metrics.hosts import Hosts
from canary.metrics.secrets import Secrets, Unshown, refuse_others
from canary.model.notifications import HttpTarget
from canary.notify import signing
from canary.notify.notice import CONTENT_TYPE, Notice
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.secrets import TargetSecrets
from canary.notify.targets import Target

SECONDS = 10.0
"""For all of one attempt: Secrets, connection, answer."""

MOST_RECEIVED = 64 * 1024
"""Bytes of an answer up to the end of its headers."""

_LONGEST_WAIT = 300.0
"""Of a Retry-After; who asks for more is asked again sooner."""

_RETRY = frozenset({408, 425, 429})
NOT_ALLOWED = "NotAllowed"


class HttpSender:
    """Sends to servers among `hosts`. `clock` gives the time of day, in seconds since 1970."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Secrets,
        secrets: TargetSecrets,
        *,
        clock: Callable[[], float] = time.time,
        seconds: float = SECONDS,
    ) -> None:
        self._hosts, self._credentials, self._secrets = hosts, credentials, secrets
        self._clock, self._seconds = clock, seconds

    async def send(self, target: Target, http: HttpTarget, notice: Notice) -> Outcome:
        """One attempt. Raises nothing of what can go wrong on the way."""
        try:
            address = normalise("{0.scheme}://{0.netloc}".format(urlsplit(http.url)))
        except ValueError as refusal:
            return Undelivered("InvalidUrl", f"spec.http.url: {refusal}")
        if not self._hosts.may_name(address):
            return Undelivered(NOT_ALLOWED, f"the host of {address} is not among the allowed hosts (--allow-hosts)")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._sent(target, http, notice, address)
        except TimeoutError:
            return Undelivered("Timeout", f"{address} did not answer within {self._seconds:g} s", retryable=True)
        except Unshown as why:
            return Undelivered(why.reason, str(why), retryable=why.unreachable)
        except PeerRefused as refusal:
            return Undelivered(NOT_ALLOWED, str(refusal))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return Undelivered(
                "InvalidUrl", "spec.http.url is no URL; write for example https://hooks.example.com/canary"
            )
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
            # Not in its own words, which may be those of whoever answered.
            return Undelivered("Unreachable", f"{address} cannot be reached ({type(error).__name__})", retryable=True)

    async def _sent(self, target: Target, http: HttpTarget, notice: Notice, address: str) -> Outcome:
        shown = await self._shown(target, http, address)
        body = notice.event
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": f"canary/{__version__}", "Accept-Encoding": "identity"}
        headers |= dict(shown.headers) if shown is not None else {}
        headers |= await self._signature(target, http, address, notice.id, body)
        transport = GuardedTransport(
            self._hosts, shown.trust if shown is not None else None, most=MOST_RECEIVED, connections=1
        )
        async with (
            httpx.AsyncClient(
                transport=transport,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                trust_env=False,
                timeout=self._seconds,
            ) as client,
            client.stream("POST", http.url, headers=headers, content=body) as response,
        ):
            return _outcome(response, address)

    async def _shown(self, target: Target, http: HttpTarget, address: str) -> Shown | None:
        """Raises Unshown."""
        if http.auth is None:
            return None
        found = Auth.of(http.auth)
        if found is None:
            return None
        auth = found.of_platform if target.platform else found.rendered({"namespace": target.namespace})
        return await self._credentials.shown(auth, address, (target.namespace, target.label))

    async def _signature(self, target: Target, http: HttpTarget, address: str, id_: str, body: bytes) -> dict[str, str]:
        """Raises Unshown."""
        if http.signing is None:
            return {}
        ref = http.signing.secret_ref
        content, value = await self._secrets.value(ref.name, ref.key, target.namespace)
        refuse_others(content, ref.name, target.namespace or self._secrets.own, address)
        try:
            return signing.headers(signing.secret_of(value), id_, int(self._clock()), body)
        except ValueError as error:
            raise Unshown("BadSecret", f"key {ref.key} of Secret {ref.name}: {error}") from None


def _outcome(response: httpx.Response, address: str) -> Outcome:
    status = response.status_code
    if 200 <= status < 300:
        return Delivered(f"{address} answered {status}")
    if 300 <= status < 400:
        return Undelivered(
            "Redirected", f"{address} answered {status}; redirects are not followed: write where it leads"
        )
    retryable = status in _RETRY or status >= 500
    wait = response.headers.get("Retry-After", "")
    after = min(float(wait), _LONGEST_WAIT) if wait.isascii() and wait.isdecimal() and len(wait) < 9 else None
    return Undelivered("Refused", f"{address} answered {status}", retryable=retryable, retry_after=after)
