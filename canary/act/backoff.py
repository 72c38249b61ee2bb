"""When a write that failed may be tried again, without holding up anything else."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from canary.errors import CanaryError
from canary.kube.retry import RetryPolicy


@dataclass(slots=True)
class Backoff:
    """One thing that keeps failing: how often it has, and until when it rests."""

    failures: int = 0
    until: datetime | None = None


OFTEN = 20
WITHIN = timedelta(seconds=10)
SLOWLY = timedelta(seconds=0.5)
"""What is done this often within that time is done again only after a pause."""


@dataclass(slots=True)
class Backoffs:
    """Backoffs by name. Pauses follow the named policy but never end: a rollback is tried for as long as it takes."""

    policy: RetryPolicy
    kept: dict[str, Backoff] = field(default_factory=dict)
    _done: dict[str, deque[datetime]] = field(default_factory=dict)

    def resting(self, name: str, now: datetime) -> bool:
        """Whether it is too early to try again."""
        known = self.kept.get(name)
        return known is not None and known.until is not None and now < known.until

    def failed(self, name: str, now: datetime, error: CanaryError) -> int:
        """Note a failure; returns how many there have been in a row."""
        known = self.kept.setdefault(name, Backoff())
        most = min(self.policy.longest, self.policy.first * 2.0 ** min(known.failures, 16))
        pause = max(most * random.uniform(0.5, 1), getattr(error, "retry_after", None) or 0.0)  # noqa: S311 - jitter
        known.failures += 1
        known.until = now + timedelta(seconds=pause)
        return known.failures

    def succeeded(self, name: str) -> None:
        self.kept.pop(name, None)

    def paced(self, name: str, now: datetime) -> None:
        """Note that something was done which may be undone by others again and again: at most the pace slows."""
        times = self._done.setdefault(name, deque(maxlen=OFTEN))
        times.append(now)
        if len(times) == OFTEN and now - times[0] < WITHIN:
            self.kept[name] = Backoff(0, now + SLOWLY)

    def next_try(self, now: datetime) -> datetime | None:
        """When the first of them may be tried again."""
        return min((known.until for known in self.kept.values() if known.until and known.until > now), default=None)
