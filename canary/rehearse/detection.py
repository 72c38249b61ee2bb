"""How long a comparison needs to find a canary that is so many times as bad: simulated, by the code that judges. Pure.

Counts are drawn for each look from generators that the question names, so the same question has the same answer. What is assumed is what is
rarely quite so: requests come evenly and fail independently of each other, all at the rate that stable has now, and are scraped as soon
as they are looked for. Where failures come in clusters it takes longer.

Two questions are asked for each step:

- *Begins here*: the canary was as good as stable up to this step, and is worse from its beginning on. That is the worst case for this
  step, since the healthy looks before it count for the canary.
- *From the start*: it was worse all along, and was not caught before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, inf
from random import Random
from typing import Any

from canary.checks.judges.against import Against
from canary.checks.judges.finding import Standing
from canary.checks.resolve import ResolvedCheck
from canary.model.checks import SHORTEST_INTERVAL
from canary.rehearse.drawing import Part, Traffic, enough, why_never
from canary.rehearse.timeline import StepTime, Timeline, interval, looks, reads

RUNS = 200
"""Simulated for each question: a share of caught runs has a standard error of 3.5 percent at most."""

EACH = 10
"""Runs that go on from one and the same healthy history of the steps before."""

MOST_BEFORE = 1000
"""Looks of a history at most: where there were more each stands for several."""

SHORT, DOUBLED = 60, 20
"""So many looks are as long as they are; then each `DOUBLED` of them are twice as long as those before, since what is found late is
found late whatever the last minutes were cut into."""

HALVES = 25
"""So many looks are simulated up to about the time by which half of the runs are caught, where an interval has hardly a failure."""

PATIENCE = 4.0
"""So many times that long is simulated, or as long as the hold if that is longer."""

LONGEST = 7 * 86_400.0
"""Seconds. What takes longer than a week is never found in a release."""


@dataclass(frozen=True, slots=True)
class Found:
    """When a comparison finds the worse canary at a step: seconds after the hold began; None: in so many runs not at all.

    `within` is the part of the runs that are caught within this hold if the canary gets worse here; `by_its_end` that of those in which
    it was worse from the start, which are caught at this step or before. `never` says why it is never found, if so.
    """

    step: int
    first_look: float | None = None
    half: float | None = None
    most: float | None = None
    within: float = 0.0
    by_its_end: float = 0.0
    never: str = ""

    @property
    def long_enough(self) -> bool:
        """Whether the hold is as long as 95 % of the runs need."""
        return self.within >= 0.95


def detection(
    check: ResolvedCheck,
    rule: Against[Any],
    times: Timeline,
    traffic: Traffic,
    worse: float,
    *,
    runs: int = RUNS,
    progress: Callable[[int, int], None] = lambda _done, _whole: None,
) -> tuple[Found, ...]:
    """For each step, how long the comparison needs to find a canary that is `worse` times as bad as stable.

    `runs` are simulated for each question, some for each of its healthy histories. `progress` is told how many steps are done, and
    how many there are.
    """
    done, whole = 0, sum(step.process > 0 for step in times.steps)
    by_step = {step.index: Found(step.index, never=step.why) for step in times.steps}
    missed_before = 1.0  # processes are judged apart, each by chance of its own
    for number in sorted({step.process for step in times.steps} - {0}):
        steps = [step for step in times.steps if step.process == number]
        missed = missed_before
        for found in _Process(check, rule, times, steps, traffic, worse, runs).found():
            missed = missed_before * (1 - found.by_its_end)
            by_step[found.step] = replace(found, by_its_end=1 - missed)
            done += 1
            progress(done, whole)
        missed_before = missed
    told, caught = [], 0.0
    for found in by_step.values():
        caught = max(caught, found.by_its_end)
        told.append(replace(found, by_its_end=caught))
    return tuple(told)


@dataclass(frozen=True)
class _Process:
    """The steps that are judged together."""

    check: ResolvedCheck
    rule: Against[Any]
    times: Timeline
    steps: Sequence[StepTime]
    traffic: Traffic
    worse: float
    runs: int

    def found(self) -> Iterator[Found]:
        why = why_never(self.rule, self.traffic, self.worse)
        if why:
            yield from (Found(step.index, never=why) for step in self.steps)
            return
        caught = self._from_the_start()
        for place, step in enumerate(self.steps):
            found = self._at(place, step)
            # At the first step both questions are one, and so is their answer.
            by_its_end = sum(at is not None and at <= place for at in caught) / len(caught) if place else found.within
            yield replace(found, by_its_end=by_its_end)

    def _at(self, place: int, step: StepTime) -> Found:
        part = Part.at(step, self.traffic, self.worse)
        half = part.half(self.rule)
        begins = reads(self.rule, self.check, step, self.times.first_traffic)
        first = begins + SHORTEST_INTERVAL - step.accepted
        if half > LONGEST:
            return Found(step.index, first, never=f"that takes longer than {LONGEST / 86_400:g} days")
        real = self._looks(step, begins + (SHORT + 1) * interval(self.check))
        lengths = _coarser(_between(real), half, max(PATIENCE * half, step.ends - begins))
        ends = [
            self._caught(_random(self.check.name, step.index, *run), part, before, begins, lengths)
            for run, before in self._runs(place)
        ]
        ends.sort()

        def quantile(portion: float) -> float | None:
            at = ends[ceil(portion * len(ends)) - 1]
            return None if at == inf else at - step.accepted

        within = sum(end <= step.ends for end in ends) / len(ends)
        return Found(step.index, first, quantile(0.5), quantile(0.95), within)

    def _runs(self, place: int) -> Iterator[tuple[tuple[int, int], Any]]:
        """Numbers that name each run, and what was known when the step began."""
        for history, before in enumerate(self._histories):
            for run in range(EACH):
                yield (history, run), before[place]

    def _caught(self, random: Random, part: Part, before: Any, begins: float, lengths: Sequence[float]) -> float:
        """When a run is caught, in seconds since it began; infinite: not as long as is simulated."""
        progress, at = before, begins
        for length in lengths:
            progress = self.rule.folded(progress, part.look(self.rule, random, length, worse=True))
            at += length
            if self._fails(progress):
                return at
        return inf

    def _from_the_start(self) -> list[int | None]:
        """The place of the step at which each run is caught, of those in which the canary was worse all along."""
        # With the draws of the first step, where the question is the same.
        draws = (_random(self.check.name, self.steps[0].index, *divmod(run, EACH)) for run in range(self.runs))
        return [self._caught_at(random) for random in draws]

    def _caught_at(self, random: Random) -> int | None:
        progress = self.rule.begin()
        for place, step in enumerate(self.steps):
            part = Part.at(step, self.traffic, self.worse)
            progress = self.rule.moved(progress)
            for length in self._lengths[place]:
                progress = self.rule.folded(progress, part.look(self.rule, random, length, worse=True))
                if self._fails(progress):
                    return place
        return None

    @cached_property
    def _histories(self) -> tuple[tuple[Any, ...], ...]:
        """What is known when each step begins, if the canary was as good as stable before and nothing was said against it."""
        return tuple(tuple(self._healthy(_random(self.check.name, one))) for one in range(self.runs // EACH))

    def _healthy(self, random: Random) -> Iterator[Any]:
        progress = self.rule.begin()
        for step, lengths in zip(self.steps, self._lengths, strict=True):
            yield progress
            part = Part.at(step, self.traffic, self.worse)
            for length in lengths:
                progress = self.rule.folded(progress, part.look(self.rule, random, length, worse=False))
            progress = self.rule.moved(progress)

    def _fails(self, progress: Any) -> bool:
        return enough(self.rule, progress) and self.rule.stands(progress).standing is Standing.FAIL

    @cached_property
    def _lengths(self) -> tuple[tuple[float, ...], ...]:
        """For each step, how long its looks are, all of them as long as they are unless there are more than `MOST_BEFORE`."""
        at = [self._looks(step, step.ends) for step in self.steps]
        several = ceil(max(1.0, sum(map(len, at)) / MOST_BEFORE))
        return tuple(tuple(_between(one[::several])) for one in at)

    def _looks(self, step: StepTime, until: float) -> list[float]:
        return looks(self.rule, self.check, step, self.times.first_traffic, until)


def _random(*names: object) -> Random:
    """A generator of its own for each of these."""
    return Random(" ".join(map(str, names)))  # noqa: S311 - a simulation


def _between(at: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(at)]


def _coarser(real: Sequence[float], half: float, long: float) -> list[float]:
    """How long the looks are that are simulated, for so `long`: the first ones as they are (`real`), later ones longer."""
    least = half / HALVES
    lengths = [*real[:SHORT]] if real[-1] >= least else []
    spent, pause = sum(lengths), max(least, real[-1])
    while spent < long:
        if len(lengths) >= SHORT and (len(lengths) - SHORT) % DOUBLED == 0:
            pause *= 2
        lengths.append(pause)
        spent += pause
    return lengths
