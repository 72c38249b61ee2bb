"""Several controllers, of which one works: whoever holds a Lease. The others stand by, with everything listed.

The Lease saves double work; no promise rests on it, since every write is guarded by what it expects to find. So a holder
that cannot renew goes on: trouble of the API server must not hold up a rollback as soon as one gets through. It ends
when it sees that another has taken over (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from canary.controller.clock import Clock
from canary.elapsed import elapsed
from canary.errors import AlreadyExists, ApiError, ConfigError, LeadershipLost, NotFound, Unprocessable
from canary.json_patch import Operation, add, annotate, annotation, pointer, replace, test, unmoved
from canary.kube import LEASES, Kube

log = logging.getLogger("canary.leadership")

Json = dict[str, Any]

DURATION = 5
"""Seconds without news of the holder after which others take the Lease; whole ones, as a Lease has them."""

LONGEST = 15
"""The most of that which is believed of another version: whoever may write the Lease may write any number, and nobody works meanwhile."""

RENEWAL = 1.5
"""Seconds between two renewals. One may fail, by a dead connection for instance, and the next one is still in time: a crash is told from that by who stands by."""

SHORTEST = 0.1
"""Seconds between an answer and the next renewal at the least."""

ANSWER = 2.0
"""Seconds that one may take."""

ENDED = "canary.dev/ended-turns"
"""Annotation of a Lease that was given back: how often it had changed hands then, and whose turns are over."""

MOST_CHARACTERS = 64
"""Of a turn."""

MOST_CHANGES = 2**31 - 1
"""How often a Lease can have changed hands, by its definition. After that, which only somebody's edit comes to, it is counted anew."""

MOST_ENDED = 16
"""Turns that are remembered as over, the latest ones. Of one that is forgotten it is only not known."""

MARGIN = 0.5
"""Seconds before its end from which on a Lease is not certain to be ours."""

SILENCE = 10.0
"""Seconds without news after which the watch is opened anew: a Lease that somebody holds has news every 1.5 seconds, and who
stands by behind a dead connection would take an old version of it, in vain, for as long as the connection is believed."""

PAUSE = 0.5
"""Seconds until the next try when the API server did not do as it was asked."""

_HOLDER = pointer("spec", "holderIdentity")
_LASTS = pointer("spec", "leaseDurationSeconds")


class Leadership:
    """The part that a controller has in a Lease. An async context: leaving it gives the Lease back, so that another goes on at once.

    `acquired` is set when we hold it. `identity` is the host's name and our process number: that of a container which is
    started again in its Pod stays the same, and it goes on at once.

    `over` are the turns (`fence.py`) of holders before us that ended with nothing under way, as far as each that came after
    them did as well: who dies or is overtaken leaves nobody's word behind.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        clock: Clock,
        *,
        identity: str | None = None,
        turn: str = "",
        certain: Callable[[], bool] = lambda: False,
        on_change: Callable[[bool], None] = lambda leading: None,  # noqa: ARG005 - the name is part of the type
    ) -> None:
        """`turn` is ours, and `certain` says whether nothing that we have sent can still take effect, at the end."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self.identity = identity or f"{socket.gethostname()}_{os.getpid()}"
        self._on_change = on_change
        self._turn = turn
        self._certain = certain
        self._transitions = 0
        self.over: tuple[str, ...] = ()
        self._seen: Json | None = None
        self._synced = False
        self._renewed_at = float("-inf")
        self._news = asyncio.Event()
        self.acquired = asyncio.Event()

    @property
    def confirmed(self) -> bool:
        """Whether nobody else can have taken the Lease yet: it was renewed so lately, by a clock that nobody sets."""
        return self.acquired.is_set() and elapsed() < self._renewed_at + DURATION - MARGIN

    @property
    def holder(self) -> str:
        """Who holds the Lease, as far as we have been told; empty: nobody."""
        return str(_spec(self._seen).get("holderIdentity") or "")

    @property
    def _ended(self) -> str:
        """Whose turns are over, for who comes next. As of so many changes of hands: an older version leaves it as it is."""
        return " ".join([str(self._transitions), *self.over[-MOST_ENDED + 1 :], self._turn])

    async def __aenter__(self) -> Self:
        self._on_change(False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.acquired.is_set():
            return
        self.acquired.clear()
        self._on_change(False)
        # Whoever cannot be told now finds out when the Lease runs out.
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(ANSWER):
                free = (test(_HOLDER, self.identity), replace(_HOLDER, ""))
                if self._turn and self._certain():
                    with suppress(Unprocessable):  # somebody has edited the Lease: it can be given back all the same
                        await self._patch(*free, replace(annotation(ENDED), self._ended))
                        return
                await self._patch(*free)

    async def run(self) -> None:
        """Take the Lease as soon as it is free, and hold it for ever.

        Raises:
            LeadershipLost: another has taken it from us.
            ConfigError: the credentials do not allow to watch or write it.

        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow the lease")
            group.create_task(self._contend(), name="contend for the lease")

    async def _follow(self) -> None:
        try:
            following = self._kube.list_and_watch(LEASES, self._namespace, name=self._name, silence=SILENCE)
            async for event in following:
                if event.type == "SYNCED":
                    self._synced = True
                else:
                    self._seen = None if event.type == "DELETED" else event.object
                self._news.set()
        except ApiError as error:
            raise self._useless(error) from error

    async def _contend(self) -> None:
        overdue = False
        while True:
            self._news.clear()
            if self._synced and (overdue or self.holder in {"", self.identity}):
                refusal = await self._take()
                if refusal is None:
                    break
                overdue = False
                if not await self._wait(PAUSE):  # else somebody was faster, as the watch told
                    log.warning("the Lease could not be taken (%s); trying again", refusal)
            else:
                known = self._synced
                overdue = not await self._wait(_duration(self._seen)) and known
        log.info("leading, by the Lease %s/%s", self._namespace, self._name)
        self._on_change(True)
        self.acquired.set()
        pause = RENEWAL
        while True:
            await self._clock.sleep(pause)
            sent = elapsed()
            # From when it was sent on: where answers are slow there is the less time between them.
            pause = max(RENEWAL - (elapsed() - sent), SHORTEST) if await self._renew() else PAUSE

    async def _wait(self, seconds: float) -> bool:
        """Wait for news; False when there are none for so long."""
        news = asyncio.ensure_future(self._news.wait())
        time = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({news, time}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            time.cancel()
        return self._news.is_set()

    async def _take(self) -> ApiError | None:
        """Write us into the Lease as we have seen it; what the API server says when it is not like that any more."""
        seen = self._seen
        while True:
            sent = elapsed()
            try:
                async with asyncio.timeout(ANSWER):
                    if seen is None:
                        await self._create()
                    else:
                        ours = add(pointer("spec"), self._ours(_spec(seen)))
                        await self._patch(unmoved(seen), ours, annotate(seen, ENDED, ""))
            except (AlreadyExists, Unprocessable) as error:
                return error
            except NotFound as error:
                if seen is None:  # there is no such namespace
                    raise self._useless(error) from error
                return error
            except (ApiError, TimeoutError) as error:
                self._complain(error)
                await self._clock.sleep(PAUSE)
            else:
                self._renewed_at = sent
                self.over = _over(seen)
                return None

    async def _renew(self) -> bool:
        sent = elapsed()
        try:
            async with asyncio.timeout(ANSWER):
                renewed = replace(pointer("spec", "renewTime"), self._now())
                await self._patch(test(_HOLDER, self.identity), renewed, add(_LASTS, DURATION))
        except Unprocessable as error:
            self.acquired.clear()
            raise LeadershipLost(
                f"another controller holds the Lease {self._namespace}/{self._name} now; this one ends, to be started "
                "again and stand by"
            ) from error
        except NotFound:
            with suppress(ApiError, TimeoutError):  # deleted by hand; if that fails, the next renewal tells
                async with asyncio.timeout(ANSWER):
                    await self._create()
            return False
        except (ApiError, TimeoutError) as error:
            self._complain(error)
            return False
        self._renewed_at = sent
        return True

    def _complain(self, error: ApiError | TimeoutError) -> None:
        if isinstance(error, ApiError) and not error.retryable:
            if self.acquired.is_set():
                log.error("the Lease cannot be renewed (%s); going on until another takes it", error)
                return
            raise self._useless(error) from error
        log.warning("the Lease cannot be written (%s); trying again", error or "no answer in time")

    def _useless(self, error: ApiError) -> ConfigError:
        return ConfigError(
            f"cannot use the Lease {self._namespace}/{self._name}: {error}; grant list, watch, create and patch of leases "
            "there (deploy/ has such a Role), or run one controller only, without --lease"
        )

    async def _create(self) -> None:
        metadata = {"name": self._name, "namespace": self._namespace, "annotations": {ENDED: ""}}
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": self._ours({})}
        await self._kube.create(LEASES, lease)

    async def _patch(self, *operations: Operation) -> None:
        await self._kube.json_patch(LEASES, self._name, self._namespace, operations)

    def _ours(self, before: Json) -> Json:
        now = self._now()
        changes = int(before.get("leaseTransitions") or 0)
        if before and before.get("holderIdentity") != self.identity:
            changes = changes + 1 if changes < MOST_CHANGES else 0
        self._transitions = changes
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": self._transitions,
        }

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _over(lease: Json | None) -> tuple[str, ...]:
    """Whose turns the last holder has left as over; none if it has not given the Lease back, or did not know of this."""
    spec = _spec(lease)
    said = ((lease or {}).get("metadata", {}).get("annotations") or {}).get(ENDED) or ""
    changes, *turns = said.split() or [""]
    if spec.get("holderIdentity") or changes != str(spec.get("leaseTransitions") or 0):
        return ()
    return tuple(turn for turn in turns if len(turn) <= MOST_CHARACTERS)[-MOST_ENDED:]


def _duration(lease: Json | None) -> float:
    """Seconds without news after which a Lease is overdue, by its own word as far as that is believed."""
    return float(min(max(_spec(lease).get("leaseDurationSeconds") or DURATION, DURATION), LONGEST))


def _spec(lease: Json | None) -> Json:
    return (lease or {}).get("spec") or {}
