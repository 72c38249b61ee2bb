"""Who may begin, given what is under way: the shares of a Rollout, of a namespace, and of those that are slow. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

Tenant = tuple[str, str]
"""Namespace and name of a Rollout."""

NOBODY: Tenant = ("", "")
"""Who asks for no Rollout: the CLI, say."""

SLOW_SECONDS = 1.0
"""Work that takes longer than this makes its Rollout a slow one."""


class Pace(IntEnum):
    """How long the work of a Rollout takes."""

    QUICK = 0
    NEW = 1
    SLOW = 2


@dataclass(eq=False, slots=True)
class Place:
    """One that is held, since when, and by a Rollout of which pace."""

    tenant: Tenant
    since: float
    pace: Pace


class Room:
    """What may begin beside the work that is under way."""

    def __init__(
        self, places: int, held: Iterable[Place], last_slow: Mapping[Tenant, float | None], now: float
    ) -> None:
        self._places = places
        self._last_slow = last_slow
        self._at_something_slow = {place.tenant for place in held if now - place.since > SLOW_SECONDS}
        self._by_pace: Counter[Pace] = Counter()
        self._by_tenant: Counter[Tenant] = Counter()
        self._by_namespace: Counter[str] = Counter()
        self._lasting: Counter[str] = Counter()
        for place in held:
            pace = Pace.SLOW if place.tenant in self._at_something_slow else place.pace
            self._by_pace[pace] += 1
            self._by_tenant[place.tenant] += 1
            self._by_namespace[place.tenant[0]] += 1
            self._lasting[place.tenant[0]] += pace is not Pace.QUICK

    def pace(self, tenant: Tenant) -> Pace:
        """What is known of a tenant now. One that is at something slow at this moment is slow."""
        if tenant in self._at_something_slow:
            return Pace.SLOW
        if tenant not in self._last_slow:
            return Pace.NEW
        return Pace.QUICK if self._last_slow[tenant] is None else Pace.SLOW

    def fits(self, tenant: Tenant) -> bool:
        """Whether a piece of work of this Rollout may begin."""
        pace = self.pace(tenant)
        return self.open_to(pace) and self.open_in(tenant[0], pace) and self.open_for(tenant, pace)

    def open_to(self, pace: Pace) -> bool:
        """Whether anybody of this pace may begin."""
        slow, lasting = self._by_pace[Pace.SLOW], self._by_pace[Pace.SLOW] + self._by_pace[Pace.NEW]
        match pace:
            case Pace.QUICK:
                return self._by_pace.total() < self._places
            case Pace.NEW:
                return self.open_to(Pace.QUICK) and lasting < self._all_but(1, 8)
            case Pace.SLOW:
                return self.open_to(Pace.NEW) and slow < self._all_but(1, 4)

    def open_in(self, namespace: str, pace: Pace) -> bool:
        """Whether anybody of this pace in a namespace may begin, as far as the namespace is concerned."""
        held = self._by_namespace[namespace]
        if held >= self._share(3, 4) or (held and self._by_pace.total() == self._places - 1):
            return False
        return pace is Pace.QUICK or self._lasting[namespace] < self._share(1, 2)

    def open_for(self, tenant: Tenant, pace: Pace) -> bool:
        """Whether this Rollout may begin one more, as far as its own share is concerned."""
        most = {Pace.QUICK: self._share(1, 2), Pace.NEW: 1, Pace.SLOW: self._share(1, 4)}
        return self._by_tenant[tenant] < most[pace]

    def _share(self, of: int, parts: int) -> int:
        return max(1, self._places * of // parts)

    def _all_but(self, of: int, parts: int) -> int:
        return max(1, self._places - self._share(of, parts))
