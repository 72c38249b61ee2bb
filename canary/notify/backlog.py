"""Who gives way when too many messages wait: whoever has the most of them.

A message counts for the namespace of its target, however many targets that has. One for a target of the platform counts for
the platform, which has a share that no namespace can take; among these it counts for the namespace of the Rollout that it is about.
Each question costs the same, however many wait.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from canary.notify.targets import TargetKey

K = TypeVar("K", bound=Hashable)


class Tally(Generic[K]):
    """How many there are of each, and who has the most."""

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}
        self._having: dict[int, dict[K, None]] = {}
        self._most = 0

    def __bool__(self) -> bool:
        return bool(self._counts)

    @property
    def most(self) -> int:
        """How many whoever has the most has; 0 where there is nobody."""
        return self._most

    @property
    def first(self) -> K:
        """Who has the most; of several, the one that has had so many for longest. Raises KeyError where there is nobody."""
        return next(iter(self._having[self._most]))

    def add(self, key: K) -> None:
        self._move(key, 1)

    def remove(self, key: K) -> None:
        """One less. Raises KeyError of whoever has none."""
        if key not in self._counts:
            raise KeyError(key)
        self._move(key, -1)

    def _move(self, key: K, by: int) -> None:
        before = self._counts.pop(key, 0)
        now = before + by
        if before:
            having = self._having[before]
            del having[key]
            if not having:
                del self._having[before]
        if now:
            self._counts[key] = now
            self._having.setdefault(now, {})[key] = None
        if now > self._most or self._most not in self._having:
            self._most = now  # they differ by one, and nobody has more


class Backlog:
    """Messages that wait, by whom they count for. `share` is what the platform has for itself."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._platform = 0
        self._teams: Tally[str] = Tally()
        self._sources: dict[str, Tally[str]] = {}
        self._targets: dict[tuple[str, str], Tally[TargetKey]] = {}

    def add(self, target: TargetKey, source: str) -> None:
        """One more for a target, about a Rollout of the namespace `source`."""
        owner = target[1]
        if owner:
            self._teams.add(owner)
        else:
            self._platform += 1
        self._sources.setdefault(owner, Tally()).add(source)
        self._targets.setdefault((owner, source), Tally()).add(target)

    def remove(self, target: TargetKey, source: str) -> None:
        """One less: it was sent, or given up."""
        owner = target[1]
        self._targets[owner, source].remove(target)
        if not self._targets[owner, source]:
            del self._targets[owner, source]
        self._sources[owner].remove(source)
        if not self._sources[owner]:
            del self._sources[owner]
        if owner:
            self._teams.remove(owner)
        else:
            self._platform -= 1

    def loudest(self) -> tuple[TargetKey, str]:
        """The target that loses a message, and the namespace of the Rollout that it is about. Raises KeyError when none waits."""
        platform = not self._teams or (self._platform > self._share and self._platform >= self._teams.most)
        owner = "" if platform else self._teams.first
        source = self._sources[owner].first
        return self._targets[owner, source].first, source
