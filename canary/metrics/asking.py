"""What is the same whoever is asked: whether that is allowed, what is shown, and the queue before a server.

A provider says how its server is spoken to. Everything that keeps a request from going where it may not, from showing what it should
not, and from taking another team's turn, is here, so that no provider can forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from canary.checks.sources import Source
from canary.checks.sources.auth import Auth
from canary.fair import FairLimit, LimitClosed
from canary.metrics.address import normalise
from canary.metrics.credentials import Shown
from canary.metrics.hosts import Hosts
from canary.metrics.kept import Crowded
from canary.metrics.port import Query, Refusal
from canary.metrics.secrets import Secrets, Unshown, timely
from canary.metrics.sharing import NoTurn, Send, Sharing
from canary.model.measurement import Malformed, Measurement, Queued, Unreachable

NOT_AUTHORIZED = "NotAuthorized"
NOT_ALLOWED = "AddressNotAllowed"
REFUSES = (401, 403)
UNSHOWN = ("SecretForbidden", "NoSecret", "BadSecret", "SecretForOthers")
"""Reasons for which nothing is shown until somebody does something about it."""

Kept = tuple[str, Auth | None]
"""A server by its address, and as whom it is asked."""


class Server(Protocol):
    """One server, asked as one identity."""

    async def ask(self, query: Query, now: datetime, shown: Shown | None) -> Measurement: ...


class Asking:
    """Who may be asked, and with what. `default` is an address that is allowed without being listed: the operator's own."""

    def __init__(self, hosts: Hosts, secrets: Secrets | None, default: str | None = None) -> None:
        self._hosts, self._secrets, self._default = hosts, secrets, default

    async def measure(
        self, query: Query, now: datetime, address: str | None, find: Callable[[str], Server]
    ) -> Measurement:
        """What the server at `address` (None: the default) answers; `find` is the connection to it, and may raise Crowded."""
        source = query.source
        try:
            found = self._allowed(address)
        except ValueError as refusal:
            return Malformed(now, NOT_ALLOWED, str(refusal), query.text)
        try:
            shown = await self._shown(source, found, query)
            server = find(found)
        except Unshown as why:
            kind = Unreachable if why.unreachable else Malformed
            return kind(now, why.reason, str(why), query.text)
        except Crowded as crowded:
            return Queued(now, 0.0, str(crowded), query.text)
        answer = await server.ask(query, now, shown)
        if source.auth is not None and self._secrets is not None and getattr(answer, "reason", "") == NOT_AUTHORIZED:
            self._secrets.forget(source.auth)
        return answer

    async def refusal(self, query: Query, address: str | None) -> Refusal | None:
        """Why it may not be asked, by what is known without asking."""
        try:
            found = self._allowed(address)
        except ValueError as refusal:
            return Refusal(str(refusal), asked=False)
        try:
            await self._shown(query.source, found, query)
        except Unshown as why:
            return Refusal(str(why), asked=False, field=SECRET) if why.reason in UNSHOWN else None
        return None

    def _allowed(self, address: str | None) -> str:
        """Scheme, host, port and path. Raises ValueError: there is none that may be asked."""
        if address is None and self._default is None:
            raise ValueError("no Prometheus address is configured, and the check names none")
        found = self._default if address is None else normalise(address)
        if found is None or (found != self._default and not self._hosts.may_name(found)):
            raise ValueError(f"the host of {found} is not among the allowed hosts (--allow-hosts)")
        return found

    async def _shown(self, source: Source, address: str, query: Query) -> Shown | None:
        """Raises Unshown."""
        if source.auth is None:
            return None
        if self._secrets is None:
            raise Unshown("SecretUnreadable", "Secrets cannot be read here", unreachable=True)
        shown = self._secrets.shown(source.auth, address, query.tenant)
        return await timely(shown, query.timeout, source.auth.secret)


SECRET = "auth.secretRef"  # noqa: S105 - the field that names one
"""The field to blame for a Secret that cannot be shown."""


class Queue:
    """Those who wait for one of the places at one server. For one event loop.

    `what` and `places` are what waits, and for what, in words.
    """

    def __init__(
        self, address: str, size: int, send: Send, *, what: str, places: str, clock: Callable[[], float]
    ) -> None:
        self._address, self._clock = address, clock
        self._what, self._places = what, places
        self.limit = FairLimit(size, clock=clock)
        self.sharing = Sharing(self.limit, send, clock=clock)
        self._heard = self._unheard = clock()

    @property
    def busy(self) -> bool:
        """Whether something is under way, or waits."""
        return self.limit.busy

    def answered(self, answer: Measurement) -> None:
        """What came of a request. A server that says nothing to anybody is no crowd."""
        if isinstance(answer, Unreachable) and answer.reason in ("Unreachable", "Timeout"):
            self._unheard = self._clock()
        else:
            self._heard = self._clock()

    async def ask(self, query: Query, now: datetime) -> Measurement:
        """The answer, perhaps to somebody else who asked the same."""
        came = self._clock()
        try:
            return await self.sharing.ask(query, now)
        except NoTurn:
            return self._no_turn(query, now, came)
        except LimitClosed:
            message = f"the connection to {self._address} had to make room for another one"
            return Queued(now, self._clock() - came, message, query.text)
        except TimeoutError:
            return self.timed_out(query, now)

    def timed_out(self, query: Query, now: datetime) -> Unreachable:
        message = f"{self._address} did not answer within {query.timeout:g} s"
        return Unreachable(now, "Timeout", message, query.text)

    def _no_turn(self, query: Query, now: datetime, came: float) -> Measurement:
        """Who waited in vain was behind others, or all of them waited for a server that says nothing to anybody."""
        waited = self._clock() - came
        if self._heard < min(came, self._unheard):
            message = f"{self._address} answered nobody in the {waited:.3g} s that this waited for its turn"
            return Unreachable(now, "Timeout", message, query.text)
        message = (
            f"waited {waited:.3g} s for its turn at {self._address}: {self._what} of others take all the {self._places}"
        )
        return Queued(now, waited, message, query.text)


def not_accepted(shown: Shown | None) -> str:
    """Why a server may have answered 401 or 403, by the name of what it was shown."""
    if shown is None:
        return "it was shown no credentials; name a Secret in auth.secretRef of the check"
    return f"it does not accept {shown.name}"
