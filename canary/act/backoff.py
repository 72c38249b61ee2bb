"""When a write that failed may be tried again, without holding up anything else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from canary.backoff import Backoff
from canary.errors import CanaryError


@dataclass(slots=True)
class Rest:
    """One thing that keeps failing: how often it has, and until when it rests."""

    failures: int = 0
    until: datetime | None = None


OFTEN = 20
WITHIN = timedelta(seconds=10)
SLOWLY = timedelta(seconds=0.5)
"""What is done this often within that time is done again only after a pause."""


@dataclass(slots=True)
class Backoffs:
    """Backoffs by name. Pauses grow to the longest but never end: a rollback is tried for as long as it takes."""

    backoff: Backoff
    kept: dict[str, Rest] = field(default_factory=dict)
    _done: dict[str, deque[datetime]] = field(default_factory=dict)

    def resting(self, name: str, now: datetime) -> bool:
        """Whether it is too early to try again."""
        known = self.kept.get(name)
        return known is not None and known.until is not None and now < known.until

    def failed(self, name: str, now: datetime, error: CanaryError, pauses: Backoff | None = None) -> int:
        """Note a failure; returns how many there have been in a row. `pauses` instead of the usual ones."""
        known = self.kept.setdefault(name, Rest())
        known.failures += 1
        known.until = now + timedelta(seconds=(pauses or self.backoff).pause(known.failures, error))
        return known.failures

    def succeeded(self, name: str) -> None:
        self.kept.pop(name, None)

    def paced(self, name: str, now: datetime) -> None:
        """Note that something was done which may be undone by others again and again: at most the pace slows."""
        times = self._done.setdefault(name, deque(maxlen=OFTEN))
        times.append(now)
        if len(times) == OFTEN and now - times[0] < WITHIN:
            self.kept[name] = Rest(0, now + SLOWLY)

    def next_try(self, now: datetime) -> datetime | None:
        """When the first of them may be tried again."""
        return min((known.until for known in self.kept.values() if known.until and known.until > now), default=None)
