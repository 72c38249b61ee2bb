"""A load generator: real HTTP at a constant rate, counted by version and status."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

NO_ANSWER = 0
"""The status of a request that got no HTTP answer: refused, cut off, timed out, or not sent for lack of room."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when its answer came (monotonic seconds), from which version, with which status."""

    at: float
    version: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in one bucket. `wall` times are Unix seconds, `at` times are monotonic seconds."""

    label: str
    started_at: float
    total: int = 0
    failed: int = 0
    by_version: Mapping[str, int] = field(default_factory=dict)
    """Answers by the `x-version` header; an answer without it (the gateway's own) counts under ""."""
    by_status: Mapping[int, int] = field(default_factory=dict)
    first_bad_at: float | None = None
    first_bad_wall: float | None = None

    @property
    def good(self) -> int:
        return self.total - self.failed

    def share(self, version: str) -> float:
        """The share (0..1) of all requests that this version answered; 0 when there were none."""
        return self.by_version.get(version, 0) / self.total if self.total else 0.0


class _Bucket:
    def __init__(self, label: str) -> None:
        self.label = label
        self.started_at = time.monotonic()
        self.versions: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.first_bad: tuple[float, float] | None = None

    def add(self, answer: Answer) -> None:
        self.versions[answer.version] += 1
        self.statuses[answer.status] += 1
        if is_bad(answer.status) and self.first_bad is None:
            self.first_bad = (answer.at, time.time())

    def counts(self) -> Counts:
        at, wall = self.first_bad or (None, None)
        return Counts(
            label=self.label,
            started_at=self.started_at,
            total=self.statuses.total(),
            failed=sum(count for status, count in self.statuses.items() if is_bad(status)),
            by_version=dict(self.versions),
            by_status=dict(self.statuses),
            first_bad_at=at,
            first_bad_wall=wall,
        )


def is_bad(status: int) -> bool:
    """Whether a user would call it an error: 5xx, or no answer at all."""
    return status == NO_ANSWER or status >= 500


class LoadGenerator:
    """Sends `rps` requests a second to `url` for `host`, whatever the answers (an open loop), over warm connections.

    Stops by itself after `max_requests` or `max_seconds`. At most `max_in_flight` requests wait for an answer; what
    would go beyond counts as failed, with status 0. The newest `history` answers are kept; `on_answer` is told of each.
    Reading is thread-safe.
    """

    def __init__(
        self,
        url: str,
        host: str = "",
        rps: float = 100,
        headers: Mapping[str, str] | None = None,
        *,
        max_requests: int = 1_000_000,
        max_seconds: float = 3600,
        timeout: float = 10,
        max_in_flight: int = 1000,
        history: int = 100_000,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        self._on_answer = on_answer
        self.url = url
        self.rps = rps
        self._headers = {**(headers or {}), **({"Host": host} if host else {})}
        self._max_requests = max_requests
        self._max_seconds = max_seconds
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._lock = threading.Lock()
        self._history: deque[Answer] = deque(maxlen=history)
        self._last: dict[str, Answer] = {}
        self._all = _Bucket("all")
        self._buckets = [_Bucket("start")]
        self._requests: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._http = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Send no more, let requests in flight finish (at most `timeout` seconds), close. Safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await task
            await asyncio.gather(*self._requests)
        finally:
            for request in self._requests:
                request.cancel()
            await self._http.close()

    async def wait(self) -> None:
        """Wait until it stops by itself and every answer is in."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await asyncio.gather(*self._requests)

    # --- reading -----------------------------------------------------------------------------------------------------

    def mark(self, label: str) -> None:
        """Begin a new bucket: answers from now on are counted under `label`."""
        with self._lock:
            self._buckets.append(_Bucket(label))

    def counts(self) -> Counts:
        """Everything so far."""
        with self._lock:
            return self._all.counts()

    def current(self) -> Counts:
        """The bucket of the last `mark`."""
        with self._lock:
            return self._buckets[-1].counts()

    def buckets(self) -> tuple[Counts, ...]:
        """One entry per `mark`, in order; the first one is labelled "start"."""
        with self._lock:
            return tuple(bucket.counts() for bucket in self._buckets)

    def last_answer(self, version: str) -> Answer | None:
        """The last answer that came from a version."""
        with self._lock:
            return self._last.get(version)

    def series(self) -> tuple[Answer, ...]:
        """The newest answers, oldest first; as many as `history` allows."""
        with self._lock:
            return tuple(self._history)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        start = time.monotonic()
        while self.sent < self._max_requests:
            now = time.monotonic()
            if now - start >= self._max_seconds:
                return
            # Due by the clock, not by sleeping once per request: a late wake-up is made good, so the rate holds.
            due = min(int((now - start) * self.rps) + 1, self._max_requests)
            while self.sent < due:
                self._send()
            await asyncio.sleep(max(0.0, start + self.sent / self.rps - time.monotonic()))

    def _send(self) -> None:
        self.sent += 1
        if len(self._requests) >= self._max_in_flight:
            self._count("", NO_ANSWER, time.monotonic())
            return
        task = asyncio.create_task(self._request())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _request(self) -> None:
        began = time.monotonic()
        try:
            async with self._http.get(self.url, allow_redirects=False) as response:
                await response.read()
                version, status = response.headers.get("x-version", ""), response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            version, status = "", NO_ANSWER
        self._count(version, status, began)

    def _count(self, version: str, status: int, began: float) -> None:
        now = time.monotonic()
        answer = Answer(now, version, status, now - began)
        with self._lock:
            self._history.append(answer)
            self._all.add(answer)
            self._buckets[-1].add(answer)
            self._last[version] = answer
        if self._on_answer is not None:
            self._on_answer(answer)
