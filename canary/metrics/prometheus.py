"""Prometheus, through prometheus-api-client: blocking, so in a few threads per address, and never on the loop."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from canary.checks.sources.prometheus import Prometheus
from canary.fair import Place
from canary.metrics.address import normalise
from canary.metrics.asking import (
    NOT_ALLOWED,
    NOT_AUTHORIZED,
    REFUSES,
    SECRET,
    UNSHOWN,
    Asking,
    Kept,
    Queue,
    not_accepted,
)
from canary.metrics.connecting import PeerRefused
from canary.metrics.credentials import Shown, Shows, withheld
from canary.metrics.freshness import Freshness, Stale
from canary.metrics.hosts import Hosts
from canary.metrics.kept import MOST, KeptByAddress
from canary.metrics.native import NoHistogram, native, weight
from canary.metrics.parsing import LARGE_SERIES, MAX_BYTES, AnswerTooLarge, in_turn
from canary.metrics.port import Query, Refusal
from canary.metrics.prometheus_session import BoundedSession
from canary.metrics.secrets import Secrets
from canary.metrics.values import Series, measurement
from canary.model.measurement import Malformed, Measurement, Sample, Unreachable

__all__ = ["PROMETHEUS_READ", "PrometheusApiClientException", "PrometheusConnect", "PrometheusProvider", "root_cause"]

_END_OF_TIME = 253402300800.0  # the year 10000, in seconds
_LONGEST_ERROR = 500  # characters of a server's words that are passed on


def _is_connection_error(error: BaseException) -> bool:
    # A connect time-out is both: it has used up the time, so it is no candidate.
    return isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)


PROMETHEUS_READ = Retrying(
    retry=retry_if_exception(_is_connection_error), stop=stop_after_attempt(2), wait=wait_fixed(0.05), reraise=True
)
"""One quick second try when the connection fails (a kept-alive one that the server closed, a pod that moved)."""


class PrometheusProvider:
    """Asks `default_address`, or the address of the query if it is among `hosts`.

    At most `max_workers` queries run per address at a time; who has to wait for one is `canary.fair`'s to say, and who asks the
    same shares one (`sharing`). A query's time-out begins when it is sent. `credentials` are for the default address only, and for queries
    without a Secret of their own, since a Rollout must not be able to have them sent elsewhere. Secrets of queries come from `secrets`.
    `hosts` None is for a person at a terminal: the default address, wherever it leads.
    """

    def __init__(
        self,
        default_address: str | None = None,
        hosts: Hosts | Collection[str] | None = (),
        *,
        max_workers: int = 8,
        clock: Callable[[], float] = time.monotonic,
        credentials: Shows | None = None,
        secrets: Secrets | None = None,
        max_bytes: int = MAX_BYTES,
        max_addresses: int = MOST,
    ) -> None:
        self._default = normalise(default_address) if default_address else None
        listed = hosts if isinstance(hosts, Hosts) else Hosts.read(hosts or ())
        self._asking = Asking(listed, secrets, self._default)
        reached = None if hosts is None else listed.plus(self._default)

        def new(kept: Kept) -> _Backend:
            address, auth = kept
            shows = credentials if auth is None and address == self._default else None
            return _Backend(
                address, workers=max_workers, clock=clock, max_bytes=max_bytes, credentials=shows, hosts=reached
            )

        self._home = new((self._default, None)) if self._default else None
        self._others: KeptByAddress[Kept, _Backend] = KeptByAddress(
            new, busy=lambda one: one.busy, close=lambda one: one.close(), most=max_addresses, clock=clock
        )

    async def measure(self, query: Query, now: datetime) -> Measurement:
        source = query.source
        if not isinstance(source, Prometheus):
            raise TypeError(f"this is not asked of Prometheus: {source!r}")
        return await self._asking.measure(
            query, now, source.address, lambda address: self._backend(address, source, query)
        )

    async def validate(self, query: Query) -> Refusal | None:
        """Asks the query once: Prometheus has no other way that all its versions and relatives share."""
        answer = await self.measure(query, datetime.now().astimezone())
        if not isinstance(answer, Malformed):
            return None
        if answer.reason == "BadQuery":
            return Refusal(answer.message)
        if answer.reason in UNSHOWN:
            return Refusal(answer.message, asked=False, field=SECRET)
        if answer.reason == NOT_ALLOWED:
            own = getattr(query.source, "address", None) is not None
            return Refusal(answer.message, asked=False, field="address" if own else "")
        return None

    async def close(self) -> None:
        """Queries under way end by themselves, within their time-outs; nobody waits for them."""
        self._others.clear()
        if self._home is not None:
            self._home.close()

    def _backend(self, address: str, source: Prometheus, query: Query) -> _Backend:
        """Raises Crowded."""
        if self._home is not None and address == self._default and source.auth is None:
            return self._home
        return self._others.get((address, source.auth), query.tenant[0])


class _Backend:
    """One address: its session, its workers, and the queue before them."""

    def __init__(
        self,
        address: str,
        *,
        workers: int,
        clock: Callable[[], float],
        max_bytes: int,
        hosts: Hosts | None,
        credentials: Shows | None = None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._credentials = credentials
        self._shown: Shown | None = None
        self._session = BoundedSession(pool_size=workers, max_bytes=max_bytes, clock=clock, hosts=hosts)
        self._trusted: ssl.SSLContext | None = None
        self._showing = threading.Lock()
        self._fresh = Freshness(clock)
        self._connect = PrometheusConnect(address, session=self._session)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="prometheus")
        self.queue = Queue(address, workers, self._send, what="queries", places="workers", clock=clock)

    @property
    def busy(self) -> bool:
        """Whether a query is under way, or waits."""
        return self.queue.busy

    async def ask(self, query: Query, now: datetime, shown: Shown | None = None) -> Measurement:
        """`shown` is what a Secret of the query says now; from then on it is shown with everything that is sent."""
        if shown is not None:
            self._shown = shown
        return await self.queue.ask(query, now)

    def _send(self, query: Query, now: datetime, place: Place) -> asyncio.Future[Measurement]:
        loop = asyncio.get_running_loop()

        # A thread cannot be interrupted: its place is free again when it ends, not when nobody waits for it any more.
        # Otherwise a Prometheus that hangs would pile up work behind the busy threads.
        def ended(_: Future[Measurement]) -> None:
            with suppress(RuntimeError):  # the loop is closed; nobody waits
                loop.call_soon_threadsafe(self.queue.limit.give_back, place)

        try:
            future = self._executor.submit(self._work, query, now, self._clock() + query.timeout)
        except RuntimeError:  # closed just now
            self.queue.limit.give_back(place)
            answer: asyncio.Future[Measurement] = loop.create_future()
            message = f"the connection to {self._address} was closed"
            answer.set_result(Unreachable(now, "Unreachable", message, query.text))
            return answer
        future.add_done_callback(ended)
        return asyncio.wrap_future(future)

    def close(self) -> None:
        self.queue.limit.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _introduce(self) -> None:
        """Say who we are, and know who the other is, as the files of the credentials have it now."""
        with self._showing:
            if self._credentials is not None:
                self._shown = self._credentials.show()
            if self._shown is None:
                return
            if self._shown.trust is not self._trusted:
                self._session.trust(self._shown.trust)
                self._trusted = self._shown.trust
            self._connect.headers = dict(self._shown.headers)

    def _work(self, query: Query, now: datetime, deadline: float) -> Measurement:
        """Runs in a worker."""
        answer = self._query(query, now, deadline)
        if not isinstance(answer, Sample):
            answer = replace(answer, message=withheld(answer.message, self._shown))
        self.queue.answered(answer)
        return answer

    def _query(self, query: Query, now: datetime, deadline: float) -> Measurement:
        try:
            self._session.set_deadline(deadline)
            self._introduce()
            sent = self._clock()
            left = max(deadline - sent, 0.001)
            params = {"timeout": f"{left:.3f}"}
            if query.instant is not None:
                params["time"] = f"{query.instant:.3f}"
            result = PROMETHEUS_READ(self._connect.custom_query, query.text, params=params)
        except requests.Timeout:
            return self.queue.timed_out(query, now)
        except PeerRefused as refusal:
            return Malformed(now, NOT_ALLOWED, str(refusal), query.text)
        except AnswerTooLarge as error:
            message = f"the answer {error}: aggregate with sum() or max()"
            return Malformed(now, "UnexpectedResult", message, query.text)
        except PrometheusApiClientException:
            return self._refused(query, now)
        # JSON errors of requests are RequestExceptions too, so whether there was an answer decides.
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            if self._session.answered() is None:
                return Unreachable(now, "Unreachable", f"{self._address}: {root_cause(error)}", query.text)
            message = f"{self._address} answered something that is no Prometheus result"
            return Malformed(now, "UnexpectedResult", message, query.text)
        return self._measured(result, query, now, sent)

    def _refused(self, query: Query, now: datetime) -> Measurement:
        code, body = self._session.answered() or (0, {})
        words = self._spoken(body.get("error") or "")
        if code in REFUSES:
            message = f"{self._address} answered {code}: {not_accepted(self._shown)}"
            return Unreachable(now, NOT_AUTHORIZED, f"{message}{': ' + words if words else ''}", query.text)
        if code in (400, 422) and body.get("status") == "error":
            return Malformed(now, "BadQuery", words or f"Prometheus refused the query ({code})", query.text)
        redirected = "; redirects are not followed" if 300 <= code < 400 else ""
        message = f"{self._address} answered {code}{': ' + words if words else ''}{redirected}"
        return Unreachable(now, "HTTPError", message, query.text)

    def _spoken(self, words: Any) -> str:
        """A server's words, as far as they may be passed on."""
        return " ".join(withheld(str(words), self._shown).split())[:_LONGEST_ERROR]

    def _measured(self, result: Any, query: Query, now: datetime, sent: float) -> Measurement:
        _, body = self._session.answered() or (0, {})
        kind = (body.get("data") or {}).get("resultType")
        if body.get("status") != "success":
            words = self._spoken(body.get("error") or "it says no status of success")
            return Malformed(
                now, "UnexpectedResult", f"{self._address} answered 200, and no result: {words}", query.text
            )
        if body.get("warnings"):
            # What a store did not tell would look as if nothing had failed, and as all of its history when it comes back.
            words = self._spoken(body["warnings"])
            return Malformed(now, "PartialAnswer", f"the server warns, so a part may be missing: {words}", query.text)
        try:
            if kind == "vector":
                with in_turn(sum(map(weight, result)) > LARGE_SERIES):
                    series = [_series(one) for one in result]
                    moment = _instant(result[0]) if result else None
            elif kind == "scalar":
                series, moment = [({}, _number(result[1]))], _time(result[0])
            else:
                message = f"the query returned a {kind or 'result of unknown type'}, not an instant vector or a scalar"
                return Malformed(now, "UnexpectedResult", message, query.text)
        except NoHistogram as error:
            message = f"the query returned a native histogram that {error}"
            return Malformed(now, "UnexpectedResult", message, query.text)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):  # an integer of 400 digits
            message = "the query returned series without a plain number"
            return Malformed(now, "UnexpectedResult", message, query.text)
        date, stored = self._session.dated()
        try:
            old = self._fresh.age(query.text, moment, sent, date=date, stored=stored, asked=query.instant)
        except Stale as stale:
            message = f"the answer is no news ({stale}): something before {self._address} answers from a cache"
            return Malformed(now, "StaleAnswer", message, query.text)
        return measurement(series, query, now - timedelta(seconds=old), moment or 0.0)


def _series(one: Any) -> Series:
    """Raises NoHistogram; KeyError, TypeError, ValueError, IndexError, OverflowError: it has neither a number nor a histogram."""
    if "histogram" not in one:
        return one["metric"], _number(one["value"][1])
    if "value" in one:
        raise NoHistogram("is a number, too")
    return one["metric"], native(one["histogram"][1])


def _instant(one: Any) -> float:
    return _time(one["histogram" if "histogram" in one else "value"][0])


def _number(value: Any) -> float:
    """A value as Prometheus writes it, in a string. Raises ValueError for what only Python takes for one, True and 1_0 among them; TypeError."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _time(value: Any) -> float:
    """The moment that an answer is of, in seconds. Raises ValueError: it is of none."""
    moment = _number(value)
    if not 0 <= moment < _END_OF_TIME:
        raise ValueError(f"{value!r} is no time")
    return moment


def root_cause(error: BaseException) -> str:
    """The innermost cause in words: requests wraps urllib3 wraps the socket, each repeating the others."""
    seen = {id(error)}
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        cause = inner
    return str(cause) or type(cause).__name__
