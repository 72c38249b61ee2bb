"""Counts Rollouts: to know at a start whether all are known, and later to notice those whose deletion nobody told us of.

kopf says of no list that it is through. While its watch was broken, a deletion leaves no event.

An active one would be found out by its next write. One at rest writes nothing, and would go on barring its rules to
others. So from time to time, and whenever kopf had to list them again, the Rollouts are counted, by one small request; only
if fewer exist than are known are they listed.

The same small request tells when the server's store was set back to a backup. Watches go on where they were, which is in the future
of that store, and bring nothing until it gets there; and what they bring then would be older than what is known. So it is also
sent whenever the API server is in sight again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import timedelta

from canary.controller.clock import Alarm, Clock
from canary.controller.manager import Manager
from canary.errors import ApiError, Forbidden, ServerSetBack
from canary.kube import ROLLOUTS, Kube
from canary.observe.objects import Key, key_of, precedes, uid_of

log = logging.getLogger("canary.resync")

INTERVAL = 300.0
"""Seconds between two counts."""

PATIENCE = 30.0
"""Seconds for which nobody at rest is judged while Rollouts are missing."""
RECOUNT = 1.0
"""Seconds after which they are counted again meanwhile: some may have been deleted, or the server did not answer."""
LATE = 10.0
"""Seconds between two counts after that, until all are known."""


SET_BACK = "is older than what was known before: the API server's store was set back; this controller ends, to begin anew with what is there"


class Resync:
    """Compares the Rollouts that are known with those that exist. `namespaces` empty: all of them."""

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        clock: Clock,
        *,
        recount: float = RECOUNT,
        patience: float = PATIENCE,
    ) -> None:
        self._kube = kube
        self._hub = manager
        self._limit: tuple[str | None, ...] = namespaces or (None,)
        self._clock = clock
        self._recount = recount
        self._patience = patience
        self._late = False
        self._alarm = asyncio.Event()
        self.soon = self._alarm.set
        """Count at the next opportunity: something may have been missed."""
        self._set_back = False
        self._listed_at: dict[str | None, str] = {}
        """By namespace: the resourceVersion of the last list."""

    async def run(self) -> None:
        """Count for ever. A server that cannot answer now is asked again next time.

        Raises:
            ServerSetBack: it has an earlier state than was known before it was asked.

        """
        alarm = Alarm(self._clock, self._alarm)
        try:
            while True:
                alarm.set(self._clock.now() + timedelta(seconds=LATE if self._late else INTERVAL))
                await self._alarm.wait()
                self._alarm.clear()
                if self._set_back:
                    raise ServerSetBack(f"a Rollout {SET_BACK}")
                if self._late:
                    self._late = not await self._all_known()
                for place in self._limit:
                    try:
                        await self.count(place)
                    except ApiError as error:
                        log.debug("cannot count the Rollouts: %s", error)
        finally:
            alarm.cancel()

    def set_back(self) -> None:
        """Somebody has read a Rollout that is older than what was known before."""
        self._set_back = True
        self.soon()

    async def listed(self) -> None:
        """Return when all Rollouts that exist are known, and in any case when patience is over; they are then counted on meanwhile."""
        try:
            async with asyncio.timeout(self._patience):
                while not await self._all_known():
                    pass
        except TimeoutError:
            log.warning(
                "not all Rollouts are listed yet; those that are, are judged without the others, but for what routes say of their runs"
            )
            self._late = True
            self.soon()

    async def _all_known(self) -> bool:
        """Whether all are known, or have come before it is time to count again."""
        try:
            existing = sum([await self._existing_if_shown(place) for place in self._limit])
        except ApiError as error:
            log.debug("cannot count the Rollouts: %s", error)
            await asyncio.sleep(self._recount)
            return False
        try:
            await asyncio.wait_for(self._hub.expect(existing), self._recount)
        except TimeoutError:
            return False
        self._hub.listed()
        return True

    async def count(self, place: str | None) -> list[Key]:
        """Count once in a namespace (None: all), and drop what does not exist any more; returns what was dropped.

        Raises:
            ApiError: the server does not answer.

        """
        known = self._known(place)
        if len(known) <= await self._existing(place):
            return []
        present: dict[Key, str] = {}
        async with aclosing(self._kube.pages(ROLLOUTS, place)) as pages:
            async for page in pages:
                present |= {key_of(item): uid_of(item) for item in page["items"]}
        # What came after we looked is in the list and not among the known; what went since then has its own event.
        gone = [key for key, uid in known.items() if present.get(key) != uid]
        for key in gone:
            kept = self._hub.deps.store.rollouts.get(key)
            if kept is not None and kept.uid == known[key]:
                log.warning("%s/%s was deleted unnoticed; forgetting it", *key)
                self._hub.rollout("DELETED", kept.document)
        return gone

    def _known(self, place: str | None) -> dict[Key, str]:
        rollouts = self._hub.deps.store.rollouts
        return {key: kept.uid for key, kept in rollouts.items() if place in {None, key[0]}}

    async def _existing_if_shown(self, place: str | None) -> int:
        """The same; of one namespace of several that may not be listed there are none for us, and the others wait for nobody's right."""
        try:
            return await self._existing(place)
        except Forbidden:
            if len(self._limit) == 1:
                raise
            return 0

    async def _existing(self, place: str | None) -> int:
        """How many there are, by the smallest list. Raises ServerSetBack."""
        known = [kept.version for key, kept in self._hub.deps.store.rollouts.items() if place in {None, key[0]}]
        known.append(self._listed_at.get(place, ""))
        async with aclosing(self._kube.pages(ROLLOUTS, place, limit=1)) as pages:
            page = await anext(pages)
        metadata = page.get("metadata") or {}
        now = str(metadata.get("resourceVersion") or "")
        if any(precedes(now, version) for version in known):
            raise ServerSetBack(f"the list of Rollouts {SET_BACK}")
        self._listed_at[place] = now
        return len(page["items"]) + int(metadata.get("remainingItemCount") or 0)
