"""Keeps the controller's eyes open: how brisk its watches are, what is said when they see nothing, who is woken after."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import timedelta

from canary.controller.clock import Clock
from canary.controller.fence import BEAT
from canary.controller.manager import Manager
from canary.controller.sight import Sights
from canary.elapsed import elapsed
from canary.kube.outage import REMINDER, Eyes
from canary.kube.pace import WatchPace

log = logging.getLogger("canary.sight")

STALE = 60.0
"""Seconds without sight after which what was seen last is as good as unknown, where nobody is blind for it."""

ASLEEP = 2.0
"""Seconds more than they should be between two beats mean that the process did not run."""


class Lookout:
    """What the watches of one controller share."""

    def __init__(self, sights: Sights, clock: Clock, namespaces: tuple[str, ...]) -> None:
        """`namespaces` empty: all of them are watched together."""
        self.sights = sights
        self._clock = clock
        self._paces: dict[str | None, WatchPace] = {place: WatchPace() for place in namespaces or (None,)}
        self._needed: dict[str, tuple[str | None, Callable[[], bool], WatchPace]] = {}
        self.calm = WatchPace()
        """For watches on which no run depends."""
        self.on_sight: Callable[[], object] = lambda: None
        """Called when all watches see again after some did not."""
        self._missing: set[str] = set()
        self._since: float | None = None
        self._said = 0.0

    def pace(self, place: str | None) -> WatchPace:
        """How brisk the watches of a namespace are (None: of all together)."""
        return self._paces[place]

    def pace_of(self, name: str, place: str | None, needed: Callable[[], bool]) -> WatchPace:
        """The same for one watch, by name, which is brisk only while it is `needed` besides."""
        if name not in self._needed:
            self._needed[name] = place, needed, WatchPace()
        return self._needed[name][2]

    def eyes(self, name: str, place: str | None = None, *, counts: bool = True) -> Eyes:
        """Eyes for one watch, in a namespace or in all; `name` is how people know it. What does not count is said, but nobody is blind for it."""
        return _Eyes(self, name, place, counts)

    def depend(self, active: Collection[str]) -> None:
        """In these namespaces something is going on: their watches have to be brisk, all others may be calm."""
        for place, pace in self._paces.items():
            pace.turn(brisk=bool(active) if place is None else place in active)
        for place, needed, pace in self._needed.values():
            pace.seconds = self._paces[place].seconds
            pace.turn(brisk=self._paces[place].brisk and needed())

    def lost(self, name: str, place: str | None, seconds: float, why: str, *, counts: bool = True) -> None:
        """A watch of a namespace, or of all, sees nothing, since so many seconds ago."""
        if counts:
            self.sights.lost(name, place, self._clock.now() - timedelta(seconds=seconds))
        self._missing.add(name)
        now = time.monotonic()
        if self._since is None:
            self._since = now - seconds
        elif now - self._said < REMINDER:
            return
        self._said = now
        log.warning(
            "the API server cannot be watched (%s): %s; trying again until it works",
            ", ".join(sorted(self._missing)),
            why,
        )

    def suspect(self) -> None:
        """A connection has died in silence. All watches are opened anew, at the price of a request each."""
        for pace in (self.calm, *self._paces.values(), *(pace for _, _, pace in self._needed.values())):
            pace.renew()

    def found(self, name: str) -> None:
        """A watch sees."""
        self.sights.found(name)
        self._missing.discard(name)
        if self._since is not None and not self._missing:
            log.info("the API server can be watched again, after %.1f s", time.monotonic() - self._since)
            self._since = None
            self.on_sight()

    async def beat(self, manager: Manager) -> None:
        """Prove that the event loop turns, and notice when it did not: then another may have done our work."""
        last = elapsed()
        while True:
            manager.last_sign = time.monotonic()
            manager.deps.fence.beat()
            self.depend(manager.busy_namespaces)
            await asyncio.sleep(BEAT)
            now = elapsed()
            asleep, last = now - last - BEAT, now
            if asleep > ASLEEP:
                log.warning("this process did not run for %.1f s; everything is looked at anew", asleep)
                self.sights.slept(asleep)
                manager.wake(set(manager.reconciling))


class Fading:
    """Passes on what a watch sees, and lets what was seen last count as unknown after STALE seconds without sight."""

    def __init__(self, eyes: Eyes, on_stale: Callable[[], object], on_found: Callable[[], object]) -> None:
        """Both may be called again when it is so already."""
        self._eyes = eyes
        self._on_stale = on_stale
        self._on_found = on_found

    def lost(self, seconds: float, why: str) -> None:
        self._eyes.lost(seconds, why)
        if seconds > STALE:
            self._on_stale()

    def suspect(self) -> None:
        self._eyes.suspect()

    def found(self) -> None:
        self._eyes.found()
        self._on_found()


class _Eyes:
    """Says what one watch sees to the lookout."""

    def __init__(self, lookout: Lookout, name: str, place: str | None, counts: bool) -> None:
        self._lookout = lookout
        self._name = name
        self._place = place
        self._counts = counts

    def lost(self, seconds: float, why: str) -> None:
        self._lookout.lost(self._name, self._place, seconds, why, counts=self._counts)

    def suspect(self) -> None:
        self._lookout.suspect()

    def found(self) -> None:
        self._lookout.found(self._name)
