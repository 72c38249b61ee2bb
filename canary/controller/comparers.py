"""Where the replicas of a comparer are, and what they compared since they were asked last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from canary.checks.sources import Source
from canary.kube import Kube
from canary.kube.endpoints import ready_endpoints
from canary.metrics.comparer import MOST_TOGETHER
from canary.model.comparer_results import MAX_PATHS
from canary.model.measurement import Answered, Measured, Measurement, Replica, Sample

RESULTS = "results"
"""The name of the port of the Service at which results are read."""
RESULTS_PORT = 8081
"""The port of a pod at which they are, where its Service names none."""

MOST_KNOWN = 256
"""Starts of replicas that one check remembers; of others nobody knows what they had counted."""
MOST_KNOWN_PATHS = MOST_TOGETHER
"""Field paths of all these starts together: what one reading says, so that of those who answer now none is forgotten."""
MOST_PATHS = 2 * MAX_PATHS
"""Field paths at which differences of one look are told apart."""

Ask = Callable[[Source], Awaitable[Measurement]]


async def replicas(kube: Kube, service: str, namespace: str) -> tuple[tuple[str, int], ...]:
    """The address and the port for results of every ready replica. Raises ApiError."""
    found = await ready_endpoints(kube, service, namespace)
    return tuple(dict.fromkeys((each.address, each.port(RESULTS) or RESULTS_PORT) for each in found))


@dataclass(slots=True)
class _Sum:
    compared: int = 0
    paths: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, compared: int, paths: Mapping[str, tuple[int, int, int]]) -> None:
        self.compared += compared
        for path, (b, c, both) in paths.items():
            if path in self.paths or len(self.paths) < MOST_PATHS:
                before = self.paths.get(path, (0, 0, 0))
                self.paths[path] = before[0] + b, before[1] + c, before[2] + both


class Answering:
    """What was read for one check. The first reading is only kept: a look lies between two.

    Each replica is counted from what it said last. One that started since the last reading is counted from 0; one that is older and was
    never read may have compared before the step, so it only begins to count. One that is gone keeps what it gave.
    """

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._known: dict[str, Replica] = {}

    async def look(self, source: Source, ask: Ask, now: datetime, least: float = 0.0) -> Measured | None:
        """What was compared since the last reading; None: nothing yet that could be told.

        Sooner than `least` seconds after it, that nothing was compared is not told.
        """
        found = await ask(source)
        if not isinstance(found, Sample) or found.replicas is None:
            return found
        since = self._at
        elapsed = (now - since).total_seconds() if since is not None else -1.0
        total, odd = _Sum(), ""
        for replica in _distinct(found.replicas.read):
            before = self._known.pop(replica.instance, None)
            self._known[replica.instance] = replica  # at the end: those that are gone are forgotten first
            if before is None and not 0 <= replica.age <= elapsed:
                continue
            grown = _grown(before, replica)
            if grown is None:
                odd = "counters of a replica of the comparer fell, so nothing of it counts this time"
                continue
            total.add(*grown)
            await asyncio.sleep(0)  # some milliseconds for each replica: others have their turn between
        paths = sum(len(replica.paths) for replica in self._known.values())
        while len(self._known) > MOST_KNOWN or paths > MOST_KNOWN_PATHS:
            paths -= len(self._known.pop(next(iter(self._known))).paths)
        if since is None or (not total.compared and elapsed < least):
            self._at = since or now
            return None
        self._at = now
        unread = "; ".join(filter(None, (found.replicas.unread, odd)))
        return Answered(now, since, total.compared, total.paths, unread, found.query)


def _distinct(found: tuple[Replica, ...]) -> list[Replica]:
    """Each start of a replica once, however many addresses it has."""
    by_instance: dict[str, Replica] = {}
    for replica in found:
        other = by_instance.get(replica.instance)
        if other is None or replica.compared > other.compared:
            by_instance[replica.instance] = replica
    return list(by_instance.values())


def _grown(before: Replica | None, after: Replica) -> tuple[int, dict[str, tuple[int, int, int]]] | None:
    """What a replica has counted since; None: these are no counters."""
    if before is None:
        return after.compared, dict(after.paths)
    compared = after.compared - before.compared
    paths = {}
    for path, (b, c, both) in after.paths.items():
        was = before.paths.get(path, (0, 0, 0))
        grown = b - was[0], c - was[1], both - was[2]
        if min(grown) < 0 or sum(grown) > compared:
            return None
        if any(grown):
            paths[path] = grown
    gone = before.paths.keys() - after.paths.keys()
    return None if compared < 0 or gone else (compared, paths)
