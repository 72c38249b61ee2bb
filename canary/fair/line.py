"""Who waits, in the order of turns."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator

from canary.fair.room import Pace, Room, Tenant


class Line:
    """Tenants that wait, by namespace."""

    def __init__(self) -> None:
        self._namespaces = _Order()
        self._rollouts: dict[str, _Order] = {}

    def tenants(self, room: Room, pace: Pace) -> Iterator[Tenant]:
        """Those that may begin, in the order in which it is their turn."""
        for namespace in self._namespaces:
            if room.open_in(namespace, pace):
                tenants = ((namespace, name) for name in self._rollouts[namespace])
                yield from (tenant for tenant in tenants if room.open_for(tenant, pace))

    def put(self, tenant: Tenant, namespace_served: int, served: int) -> None:
        namespace, name = tenant
        if namespace not in self._rollouts:
            self._rollouts[namespace] = _Order()
            self._namespaces.put(namespace, namespace_served)
        self._rollouts[namespace].put(name, served)

    def drop(self, tenant: Tenant) -> None:
        namespace, name = tenant
        rollouts = self._rollouts[namespace]
        rollouts.drop(name)
        if not rollouts:
            del self._rollouts[namespace]
            self._namespaces.drop(namespace)

    def served(self, tenant: Tenant, serial: int) -> None:
        """A tenant had its turn: others come first now."""
        namespace, name = tenant
        if namespace in self._rollouts:
            self._namespaces.put(namespace, serial)
            if name in self._rollouts[namespace]:
                self._rollouts[namespace].put(name, serial)


class _Order:
    """Names, the one served longest ago first; of those never served, the one that came first."""

    def __init__(self) -> None:
        self._order: list[tuple[int, int, str]] = []
        self._at: dict[str, tuple[int, int, str]] = {}
        self._arrivals = itertools.count()

    def __iter__(self) -> Iterator[str]:
        return (name for _, _, name in self._order)

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def __len__(self) -> int:
        return len(self._order)

    def put(self, name: str, served: int) -> None:
        self.drop(name)
        self._at[name] = entry = (served, next(self._arrivals), name)
        insort(self._order, entry)

    def drop(self, name: str) -> None:
        entry = self._at.pop(name, None)
        if entry is not None:
            del self._order[bisect_left(self._order, entry)]
