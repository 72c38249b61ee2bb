"""Prometheus, through prometheus-api-client: blocking, so in a few threads per address, and never on the loop."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from canary.metrics.address import allowed, normalise
from canary.metrics.parsing import LARGE_SERIES, MAX_BYTES, AnswerTooLarge, in_turn
from canary.metrics.port import Query
from canary.metrics.prometheus_session import BoundedSession
from canary.metrics.values import Series, measurement
from canary.model.measurement import Malformed, Measurement, Unreachable

_MAX_ADDRESSES = 16
_LONGEST_ERROR = 500  # characters of a server's words that are passed on


def _is_connection_error(error: BaseException) -> bool:
    # A connect time-out is both: it has used up the time, so it is no candidate.
    return isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)


PROMETHEUS_READ = Retrying(
    retry=retry_if_exception(_is_connection_error), stop=stop_after_attempt(2), wait=wait_fixed(0.05), reraise=True
)
"""One quick second try when the connection fails (a kept-alive one that the server closed, a pod that moved)."""


class PrometheusProvider:
    """Asks `default_address`, or the address of the query if its host is among `allowed_hosts`.

    At most `max_workers` queries run per address at a time; others wait for at most their own time-out. The 16 addresses
    used last are kept. `headers` (credentials, say) are sent to the default address only, since a Rollout must not
    be able to have them sent elsewhere. `ca_file` verifies TLS instead of the bundled authorities.
    """

    def __init__(
        self,
        default_address: str | None = None,
        allowed_hosts: Collection[str] = (),
        *,
        max_workers: int = 8,
        clock: Callable[[], float] = time.monotonic,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        max_bytes: int = MAX_BYTES,
        max_addresses: int = _MAX_ADDRESSES,
    ) -> None:
        self._default = normalise(default_address) if default_address else None
        self._allowed_hosts = tuple(allowed_hosts)
        self._headers = dict(headers or {})
        self._new_backend = partial(_Backend, workers=max_workers, clock=clock, ca_file=ca_file, max_bytes=max_bytes)
        self._max_addresses = max_addresses
        self._backends: OrderedDict[str, _Backend] = OrderedDict()

    async def measure(self, query: Query, now: datetime) -> Measurement:
        try:
            address = self._address(query)
        except ValueError as refusal:
            return Malformed(now, "AddressNotAllowed", str(refusal), query.text)
        try:
            async with asyncio.timeout(query.timeout):
                return await self._backend(address).ask(query, now)
        except TimeoutError:
            message = f"{address} did not answer within {query.timeout:g} s"
            return Unreachable(now, "Timeout", message, query.text)

    async def validate(self, query: Query) -> str | None:
        """Asks the query once: Prometheus has no other way that all its versions and relatives share."""
        answer = await self.measure(query, datetime.now().astimezone())
        if isinstance(answer, Malformed) and answer.reason in ("BadQuery", "AddressNotAllowed"):
            return answer.message
        return None

    async def close(self) -> None:
        """Queries under way end by themselves, within their time-outs; nobody waits for them."""
        while self._backends:
            self._backends.popitem()[1].close()

    def _address(self, query: Query) -> str:
        if query.address is None:
            if self._default is None:
                raise ValueError("no Prometheus address is configured, and the check names none")
            return self._default
        address = normalise(query.address)
        if address != self._default and not allowed(address, self._allowed_hosts):
            raise ValueError(f"the host of {address} is not among the allowed Prometheus hosts")
        return address

    def _backend(self, address: str) -> _Backend:
        backend = self._backends.get(address)
        if backend is None:
            while len(self._backends) >= self._max_addresses:
                self._backends.popitem(last=False)[1].close()
            own = self._headers if address == self._default else {}
            backend = self._backends[address] = self._new_backend(address, own)
        self._backends.move_to_end(address)
        return backend


class _Backend:
    """One address: its session, its workers, and the queue before them."""

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str],
        *,
        workers: int,
        clock: Callable[[], float],
        ca_file: str | None,
        max_bytes: int,
    ) -> None:
        self._address = address
        self._clock = clock
        self._session = BoundedSession(pool_size=workers, max_bytes=max_bytes, clock=clock)
        if ca_file:
            self._session.verify = ca_file
        self._connect = PrometheusConnect(address, headers=dict(headers), session=self._session)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="prometheus")
        self._free = asyncio.Semaphore(workers)

    async def ask(self, query: Query, now: datetime) -> Measurement:
        deadline = self._clock() + query.timeout
        await self._free.acquire()
        loop = asyncio.get_running_loop()

        # A thread cannot be interrupted: its place is free again when it ends, not when nobody waits for it any more.
        # Otherwise a Prometheus that hangs would pile up work behind the busy threads.
        def ended(_: Future[Measurement]) -> None:
            with suppress(RuntimeError):  # the loop is closed; nobody waits
                loop.call_soon_threadsafe(self._free.release)

        try:
            future = self._executor.submit(self._query, query, now, deadline)
        except RuntimeError:  # this address was evicted, or the provider closed, while we waited
            self._free.release()
            return Unreachable(now, "Unreachable", f"the connection to {self._address} was closed", query.text)
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _query(self, query: Query, now: datetime, deadline: float) -> Measurement:
        """Runs in a worker."""
        left = max(deadline - self._clock(), 0.001)
        try:
            self._session.set_deadline(deadline)
            result = PROMETHEUS_READ(self._connect.custom_query, query.text, params={"timeout": f"{left:.3f}"})
        except requests.Timeout:
            message = f"{self._address} did not answer within {query.timeout:g} s"
            return Unreachable(now, "Timeout", message, query.text)
        except AnswerTooLarge as error:
            message = f"the answer {error}: aggregate with sum() or max()"
            return Malformed(now, "UnexpectedResult", message, query.text)
        except PrometheusApiClientException:
            return self._refused(query, now)
        # JSON errors of requests are RequestExceptions too, so whether there was an answer decides.
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            if self._session.answered() is None:
                return Unreachable(now, "Unreachable", f"{self._address}: {_root(error)}", query.text)
            message = f"{self._address} answered something that is no Prometheus result"
            return Malformed(now, "UnexpectedResult", message, query.text)
        return self._measured(result, query, now)

    def _refused(self, query: Query, now: datetime) -> Measurement:
        code, body = self._session.answered() or (0, {})
        words = " ".join(str(body.get("error") or "").split())[:_LONGEST_ERROR]
        if code in (400, 422) and body.get("status") == "error":
            return Malformed(now, "BadQuery", words or f"Prometheus refused the query ({code})", query.text)
        redirected = "; redirects are not followed" if 300 <= code < 400 else ""
        message = f"{self._address} answered {code}{': ' + words if words else ''}{redirected}"
        return Unreachable(now, "HTTPError", message, query.text)

    def _measured(self, result: Any, query: Query, now: datetime) -> Measurement:
        _, body = self._session.answered() or (0, {})
        kind = (body.get("data") or {}).get("resultType")
        try:
            if kind == "vector":
                with in_turn(len(result) > LARGE_SERIES):
                    series: list[Series] = [(one["metric"], float(one["value"][1])) for one in result]
                    return measurement(series, query, now)
            if kind == "scalar":
                return measurement([({}, float(result[1]))], query, now)
        except (KeyError, TypeError, ValueError, IndexError):  # a native histogram has no single value, for instance
            message = "the query returned series without a plain number (a histogram?)"
            return Malformed(now, "UnexpectedResult", message, query.text)
        message = f"the query returned a {kind or 'result of unknown type'}, not an instant vector or a scalar"
        return Malformed(now, "UnexpectedResult", message, query.text)


def _root(error: BaseException) -> str:
    """The innermost cause in words: requests wraps urllib3 wraps the socket, each repeating the others."""
    seen = {id(error)}
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        cause = inner
    return str(cause) or type(cause).__name__
