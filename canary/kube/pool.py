"""Connections to the API server that are kept, and given up together when one of them turns out to be dead."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator

import aiohttp

_IDLE = 15
_PROBES = 3
_EVERY = 5
"""A connection on which nothing was said for 15 s is probed by the kernel, and given up after three probes, 5 s apart:
without any request, a wire that is cut is noticed within half a minute even by a watch that has minutes left."""


def kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose peer's death the kernel notices, as far as the system can be told to."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_KEEPIDLE": _IDLE,
        "TCP_KEEPINTVL": _EVERY,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": (_IDLE + _EVERY * _PROBES) * 1000,  # what is sent and not acknowledged: not 15 minutes
    }
    for name, value in wanted.items():
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


class Pool:
    """Sessions of aiohttp: one that is used, and those before it, until their last request is over."""

    def __init__(self, make: Callable[[], aiohttp.ClientSession], limit: int = 0) -> None:
        """`limit` is how many requests a session sends at a time (0: as many as there are)."""
        self._make = make
        self._limit = limit
        self._current: aiohttp.ClientSession | None = None
        self._renewed_at = float("-inf")
        self._users: Counter[aiohttp.ClientSession] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether the next request would have to wait for one before it."""
        return self._current is not None and 0 < self._limit <= self._users[self._current]

    @contextlib.contextmanager
    def session(self) -> Iterator[aiohttp.ClientSession]:
        """The session of now, for one request with its answer."""
        session = self._current = self._current or self._make()
        self._users[session] += 1
        try:
            yield session
        finally:
            self._users[session] -= 1
            if not self._users[session]:
                del self._users[session]
                if session is not self._current:
                    self._end(session)

    def renew(self, suspect: aiohttp.ClientSession | None = None, *, since: float | None = None) -> None:
        """New connections from now on, unless they are newer than `suspect` already. Requests under way go on.

        `since` (time.monotonic): unless they are newer than a request that was sent then.
        """
        old = self._current
        if old is None or (suspect is not None and suspect is not old):
            return
        if since is not None and since < self._renewed_at:
            return
        self._current, self._renewed_at = None, time.monotonic()
        if not self._users[old]:
            self._end(old)

    def _end(self, session: aiohttp.ClientSession) -> None:
        task = asyncio.get_running_loop().create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close everything, requests under way too."""
        sessions = {*self._users, *([self._current] if self._current else [])}
        self._current = None
        await asyncio.gather(*(session.close() for session in sessions), *self._closing)
