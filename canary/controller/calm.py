"""When a controller at work looks for garbage in all that it has kept since it started: seldom, and at a calm moment.

Nearly everything is freed as soon as nobody refers to it. What only a search finds are the runs that have ended, some hundred objects
each. The search holds up everything else for as long as it takes, which is 0.2 s with a thousand runs; left to itself, Python begins one
whenever a quarter more is kept than before, which is while a thousand runs begin or fail (docs/decisions/0086).
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from canary.controller.clock import Clock

log = logging.getLogger("canary.garbage")

LOOK = 5.0
"""Seconds between two looks at how busy the process is."""

CALM = 0.5
"""Of a core: with less than that since the last look nothing much is under way."""

SELDOM = timedelta(minutes=10)
"""After which it is searched though hardly a run has ended: what else leaves garbage is a few objects at a time."""

SOONER = timedelta(seconds=30)
"""And where many have."""

MANY = 50
"""Runs that have ended since the last search."""

LATEST = timedelta(minutes=10)
"""For how long a search waits for a calm moment."""


class Calm:
    """Searches when there is something to find, and nothing much is under way. `ended` says how many runs have ended so far."""

    def __init__(
        self,
        clock: Clock,
        ended: Callable[[], int],
        *,
        spent: Callable[[], float] = time.process_time,
        search: Callable[[], int] = gc.collect,
    ) -> None:
        """`spent`: seconds of processor time so far; `search` returns how many objects were garbage."""
        self._clock = clock
        self._ended = ended
        self._spent = spent
        self._search = search
        self._searched_at, self._had_ended = clock.now(), ended()
        self._due_since: datetime | None = None

    async def run(self) -> None:
        """Look for such moments for ever."""
        spent, at = self._spent(), self._clock.now()
        while True:
            await self._clock.sleep(LOOK)
            now, computed = self._clock.now(), self._spent()
            busy = (computed - spent) / max((now - at).total_seconds(), LOOK)
            spent, at = computed, now
            if self._due(now):
                self._due_since = self._due_since or now
            if self._due_since is not None and (busy < CALM or now >= self._due_since + LATEST):
                began = time.perf_counter()
                found = self._search()
                log.debug(
                    "%d objects were garbage; the search took %.0f ms", found, 1000 * (time.perf_counter() - began)
                )
                self._searched_at, self._had_ended = self._clock.now(), self._ended()
                self._due_since = None
                spent = self._spent()

    def _due(self, now: datetime) -> bool:
        """Whether it is time for a search, as far as what there is to find goes."""
        many = self._ended() - self._had_ended >= MANY
        return now >= self._searched_at + (SOONER if many else SELDOM)
