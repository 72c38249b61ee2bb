"""What a comparer has counted since it began: all that it keeps of requests and answers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from canary.comparer.answers import NoAnswer, Reply
from canary.comparer.comparison import Comparison
from canary.comparer.documents import OTHER
from canary.model.comparer_results import MAX_PATHS, ComparerResults, Example, Latency, Pair, PathResult

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


@dataclass(slots=True)
class _Path:
    canary_only: int = 0
    stable_only: int = 0
    both: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def count(self, *, stable: bool, canary: bool) -> None:
        if stable and canary:
            self.both += 1
        elif canary:
            self.canary_only += 1
        else:
            self.stable_only += 1


class Tally:
    """Counters. `max_paths` field paths are told apart, the last of which stands for all others together."""

    def __init__(self, instance: str, started_at: datetime, *, max_paths: int = MAX_PATHS, examples: int = 3) -> None:
        self._instance, self._started_at = instance, started_at
        self._max_paths, self._examples = min(max_paths, MAX_PATHS), examples
        self._paths: dict[str, _Path] = {}
        self._paths_dropped = 0
        self.received = self.compared = self.different = 0
        self.dropped: Counter[str] = Counter()
        self.failures = {"stable": 0, "canary": 0}
        self.latency = {version: [0] * (len(BUCKETS) + 1) for version in self.failures}
        self.seconds = dict.fromkeys(self.failures, 0.0)
        """The sum of all times to an answer; a request without one is not in it."""

    def drop(self, why: str) -> None:
        """One more that is not compared."""
        self.dropped[why] += 1

    def add(self, found: Comparison, stable: Reply, canary: Reply) -> None:
        """One more comparison; `stable` is the second answer of stable, the canary's equal."""
        self.compared += 1
        for version, reply in (("stable", stable), ("canary", canary)):
            self.failures[version] += reply.failed
            late = isinstance(reply, NoAnswer)
            self.latency[version][len(BUCKETS) if late else bisect_left(BUCKETS, reply.seconds)] += 1
            self.seconds[version] += 0.0 if late else reply.seconds
        if not found.canary and not found.stable:
            return
        self.different += not found.canary.keys() <= found.stable.keys()
        beyond_stable = beyond_canary = False
        for path in found.stable | found.canary:
            of_stable, of_canary = path in found.stable, path in found.canary
            counted = self._path(path)
            if counted is None:
                self._paths_dropped += 1
                beyond_stable, beyond_canary = beyond_stable or of_stable, beyond_canary or of_canary
                continue
            counted.count(stable=of_stable, canary=of_canary)
            if of_canary and not of_stable and len(counted.examples) < self._examples:
                kinds = found.canary[path]
                if kinds not in counted.examples:
                    counted.examples.append(kinds)
        if beyond_stable or beyond_canary:
            self._paths.setdefault(OTHER, _Path()).count(stable=beyond_stable, canary=beyond_canary)

    def results(self, now: datetime) -> ComparerResults:
        """All of it, as it is served."""
        return ComparerResults(
            instance=self._instance,
            started_at=self._started_at,
            now=now,
            received=self.received,
            compared=self.compared,
            dropped=dict(self.dropped),
            different=self.different,
            failures=Pair(**self.failures),
            paths=tuple(
                PathResult(
                    path=path,
                    canary_only=counted.canary_only,
                    stable_only=counted.stable_only,
                    both=counted.both,
                    examples=tuple(Example(stable=one, canary=other) for one, other in counted.examples),
                )
                for path, counted in self._paths.items()
            ),
            paths_dropped=self._paths_dropped,
            latency=Latency(
                buckets=BUCKETS, stable=tuple(self.latency["stable"]), canary=tuple(self.latency["canary"])
            ),
        )

    def _path(self, path: str) -> _Path | None:
        """Where a path is counted; None if there is no room for it."""
        counted = self._paths.get(path)
        if counted is None and path != OTHER and len(self._paths) < self._max_paths - 1:
            counted = self._paths[path] = _Path()
        return counted if path != OTHER else None
