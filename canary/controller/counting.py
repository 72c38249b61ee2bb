"""Reads the counters of both backends at one instant, and says what happened since they were read last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from canary.checks.judges import buckets
from canary.checks.judges.buckets import NoBucket, Told
from canary.checks.judges.counters import SHRINKS, TARGET, Side, Snapshot, between, plain
from canary.checks.queries import Backend
from canary.checks.sources import Source
from canary.checks.sources.buckets import Buckets
from canary.metrics.parsing import in_turn
from canary.model.measurement import Compared, Malformed, Measured, Measurement, NoData, Sample, Timed

PODS = (*TARGET, "pod")
"""Labels that tell pods apart, also where one page has the counters of several."""

QUICK = 100
"""So many series are subtracted on the event loop; more are not."""

MOST_PODS = 64
"""Of stable; a judge remembers a few of them."""

MOST_LOST = 3
"""So many looks in a row may be lost to that before it is said."""

_SIDES: tuple[Backend, ...] = ("canary", "stable")

Ask = Callable[[Source, float | None], Awaitable[Measurement]]
"""Asks for all series, at an instant by the clock of who answers, or now."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """All series by backend, and by what was asked: requests, failures, buckets."""

    at: datetime
    instant: float
    sides: Mapping[Backend, Mapping[str, Told]]

    @property
    def size(self) -> int:
        return sum(len(series) for side in self.sides.values() for series in side.values())


class Counting:
    """The counters of one check. What is read first is only kept: a look lies between two readings.

    `at` is of when what was read last is: when Prometheus was asked for it, perhaps by somebody else.
    """

    def __init__(self) -> None:
        self.at: datetime | None = None
        self._before: _Reading | None = None
        self._lost = 0

    async def look(
        self, sources: Mapping[Backend, Source], ask: Ask, now: datetime, least: float = 0.0
    ) -> Measured | None:
        """What both backends did since the last reading; None: there is none to compare this one with.

        Sooner than `least` seconds after it requests of both are waited for: not all that counts may have been scraped since.
        """
        source = sources["canary"]
        text = source.text
        found = await self._read(sources, ask, now)
        self.at = found.at
        if not isinstance(found, _Reading):
            return replace(found, query=text)
        before, self._before = self._before, found
        if before is None:
            return None
        looked: Compared | Timed | None = None
        try:
            if found.instant > before.instant:
                large = before.size + found.size > QUICK
                looked = (
                    await asyncio.to_thread(_in_turn, before, found, source)
                    if large
                    else _between(before, found, source)
                )
        except NoBucket as error:
            return Malformed(now, error.reason, str(error), text)
        except ValueError as error:
            self._before = None
            return Malformed(now, "NotACounter", str(error), text)
        early = (found.at - before.at).total_seconds() < least
        if looked is not None and early and not (looked.canary > 0 and looked.stable > 0):
            self._before = before
            return None
        self._lost = self._lost + 1 if looked is None else 0
        if self._lost >= MOST_LOST:
            words = f"the counters were lower than at the last look, {self._lost} times in a row: do several servers answer in turn?"
            return Malformed(now, "CountersFellBack", words, text)
        return looked

    async def _read(self, sources: Mapping[Backend, Source], ask: Ask, now: datetime) -> _Reading | Measurement:
        """All at one instant, which the first answer names: the clock of who answers is the only one that counts."""
        questions = {(backend, path[-1]): source for backend, whole in sources.items() for path, source in whole.parts}
        answers: dict[tuple[Backend, str], Measurement] = {}
        instant: float | None = None
        leading = sources["canary"].parts[0][0][-1]
        first: tuple[tuple[Backend, str], ...] = (("stable", leading), ("canary", leading))
        for key in first:
            answers[key] = await ask(questions[key], instant)
            found = answers[key]
            if isinstance(found, Sample) and found.vector is not None:
                instant = found.vector.instant
                break
            if not isinstance(found, NoData):
                return _of(key, found)
        if instant is None:
            return NoData(now, message="there are no requests of either backend")
        rest = [key for key in questions if key not in answers]
        answers |= zip(rest, await asyncio.gather(*(ask(questions[key], instant) for key in rest)), strict=True)
        sides: dict[Backend, dict[str, Told]] = {"canary": {}, "stable": {}}
        for (backend, what), answer in answers.items():
            if isinstance(answer, Sample) and answer.vector is not None:
                sides[backend][what] = answer.vector.series
            elif isinstance(answer, NoData):
                sides[backend][what] = {}
            else:
                return _of((backend, what), answer)
        # When the instant was asked for; what is asked for a named instant is of that, whenever that was.
        at = min(answers[key].at for key in first if key not in rest)
        return _Reading(at, instant, sides)


def _of(key: tuple[Backend, str], found: Measurement) -> Measurement:
    """A measurement that is none, and what was asked for."""
    backend, what = key
    if isinstance(found, Sample):
        return Malformed(found.at, "UnexpectedResult", f"{what} of {backend}: no counters came back")
    return replace(found, message=f"{what} of {backend}: {found.message}")


def _in_turn(before: _Reading, after: _Reading, source: Source) -> Compared | Timed | None:
    """The same away from the event loop, one at a time: of several threads that compute the loop would have to wait for all."""
    with in_turn(large=True):
        return _between(before, after, source)


def _between(before: _Reading, after: _Reading, source: Source) -> Compared | Timed | None:
    """What happened between two readings; None: who answered is behind. Raises ValueError: a counter that is none."""
    if isinstance(source, Buckets):
        return _timed(before, after, source)
    return _compared(before, after, source.text)


def _timed(before: _Reading, after: _Reading, source: Buckets) -> Timed | None:
    """Raises NoBucket: a histogram lacks a bound; ValueError: a counter that is none."""
    found = []
    whole = [reading.sides[side]["buckets"] for reading in (before, after) for side in _SIDES]
    edges = buckets.edges(whole, source.bounds, source.unit)
    for side in _SIDES:
        old, new = before.sides[side]["buckets"], after.sides[side]["buckets"]
        try:
            found.append(buckets.between(old, new, source.bounds, source.unit, PODS, edges))
        except NoBucket as error:
            raise type(error)(f"{side}: {error}") from error
    canary, stable = found
    if canary is None or stable is None:
        return None
    return Timed(
        at=after.at,
        since=before.at,
        canary=canary.requests,
        stable=stable.requests,
        canary_within=canary.within,
        stable_within=stable.within,
        query=source.text,
        edges={bound: edge for bound, edge in edges.items() if edge != bound},
    )


def _compared(before: _Reading, after: _Reading, text: str) -> Compared | None:
    """Raises ValueError: a counter that is none."""
    (old_canary, canary_), (old_stable, stable_) = (
        (_snapshot(before, side), _snapshot(after, side)) for side in _SIDES
    )
    if _behind(old_canary, canary_) or _behind(old_stable, stable_):
        return None
    canary, stable = between(old_canary, canary_, PODS), between(old_stable, stable_, PODS)
    return Compared(
        at=after.at,
        since=before.at,
        canary=canary.requests,
        stable=stable.requests,
        canary_failed=canary.failures,
        stable_failed=stable.failures,
        pods=dict(sorted(stable.pods.items())[:MOST_PODS]),
        canary_pods=_serving(canary),
        query=text,
    )


def _snapshot(reading: _Reading, side: Backend) -> Snapshot:
    """Raises ValueError: a native histogram is no counter."""
    return Snapshot(plain(reading.sides[side]["requests"]), plain(reading.sides[side]["failures"]))


def _behind(before: Snapshot, after: Snapshot) -> bool:
    """Whether a counter is a little lower than it was."""
    return any(
        was * SHRINKS < after_.get(labels, was) < was
        for before_, after_ in ((before.requests, after.requests), (before.failures, after.failures))
        for labels, was in before_.items()
    )


def _serving(side: Side) -> int:
    return max(1, sum(1 for requests, _ in side.pods.values() if requests > 0))
