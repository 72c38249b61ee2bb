"""Faults on order: latency, error codes, lost connections, before or after a request took effect."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from canary_sandbox.apiserver.errors import injected
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.store import encode


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong, for which requests, how often.

    An empty matcher matches everything. `resource` is a plural; `status` an HTTP code (None: none, only `latency`, in
    seconds, or `drop`); `times` how many requests it hits (None: every one). With `after_effect` the request is carried
    out first and its answer is lost: replaced by `status`, or, with `drop`, by a broken connection.

    With `after_events` it strikes a watch once that many events were sent: `stale` leaves the stream open and silent,
    as a cache that hangs does; `drop` breaks the connection; with `status` the stream ends with an ERROR event of that
    code; with none of them it ends in good order.
    """

    verb: str = ""
    resource: str = ""
    status: int | None = None
    latency: float = 0.0
    times: int | None = 1
    after_effect: bool = False
    drop: bool = False
    subresource: str | None = None
    namespace: str = ""
    name: str = ""
    user: str = ""
    hits: int = 0
    after_events: int | None = None
    stale: bool = False
    rewrite: Callable[[bytes], bytes] | None = None
    """Changes the body of the request before it is carried out, as admission would: what is kept is not what was sent."""

    def __post_init__(self) -> None:
        if self.stale and self.after_events is None:
            self.after_events = 0
        if self.after_events is not None and self.verb != "watch":
            raise ValueError('a fault with after_events or stale is for verb="watch"')

    def matches(self, request: Request, user: str) -> bool:
        return (
            self.verb in {"", request.verb}
            and self.resource in {"", request.resource}
            and self.subresource in {None, request.subresource}
            and self.namespace in {"", request.namespace}
            and self.name in {"", request.name}
            and self.user in {"", user}
        )


class Faults:
    """The faults in force, oldest first; the first that matches a request is the one that hits it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force; returns it, so that its `hits` can be read or it can be removed."""
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, request: Request, user: str) -> Fault | None:
        """The fault for this request, used up once."""
        for fault in self._faults:
            if fault.matches(request, user):
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None


class WatchLostError(Exception):
    """The connection of a watch is to be broken."""


async def faulty(lines: AsyncGenerator[bytes, None], fault: Fault | None) -> AsyncIterator[bytes]:
    """The lines of a watch until `fault` strikes it. Raises WatchLostError."""
    left = None if fault is None else fault.after_events
    async with contextlib.aclosing(lines):
        while True:
            if left == 0 and fault is not None and not fault.stale:
                if fault.drop:
                    raise WatchLostError
                if fault.status is not None:
                    yield encode({"type": "ERROR", "object": injected(fault.status).body()}) + b"\n"
                return
            line = await anext(lines, None)
            if line is None:
                return
            if left == 0:
                continue  # stale: swallowed; the stream ends when its time is over
            yield line
            left = None if left is None else left - 1
