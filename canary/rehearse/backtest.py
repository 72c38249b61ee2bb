"""Checks over what was measured before: what they would have said of a canary that is stable, and of one that is worse. Pure.

Runs follow one another through the whole time, each as long as the plan takes if nothing objects. What a check says is folded by the
code that does it in a run (`decide.verdict`, `judges.compare`); it looks on its interval, of which the time is cut into whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from random import Random
from typing import Any

from canary.checks.condition import weighed
from canary.checks.judges.against import Against
from canary.checks.judges.counters import Side
from canary.checks.judges.finding import Standing
from canary.checks.judges.latency import Histogram
from canary.checks.resolve import ResolvedCheck
from canary.decide.verdict import failed, held_too_long, judge, unmeasured
from canary.model.check_status import CheckStatus
from canary.model.measurement import Measurement, NoData, Sample
from canary.rehearse.thinning import Divided, look
from canary.rehearse.timeline import StepTime, Timeline, interval, reads, warm

Counted = Side | Histogram
"""What stable did between two instants: failures of requests, or how long they took."""

WEEK = 7 * 86_400.0

LEAST_REPLAYS = 200
"""Of a comparison: with fewer runs in the history each is replayed several times, with other requests given to the canary."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`count` instants, `step` seconds apart, the first at `start`: whole seconds of Unix time."""

    start: int
    step: int
    count: int

    @classmethod
    def of(cls, check: ResolvedCheck, start: int, end: int) -> Grid:
        """Those at which a check looks between two moments."""
        step = max(1, ceil(interval(check)))
        return cls(start, step, (end - start) // step + 1)

    def between(self, since: float, until: float) -> range:
        """The indices of the instants from one moment to another, both included."""
        first = max(0, ceil((since - self.start) / self.step))
        last = min(self.count - 1, int((until - self.start) // self.step))
        return range(first, last + 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run: after how many seconds it would have failed (None: it would not), and why.

    `held` says that it would have waited at its end, for what is not known; `seen` is whether anything was measured in it.
    """

    at: float | None = None
    why: str = ""
    held: bool = False
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Replayed:
    """A check over all runs, with a canary that is `worse` times as bad as stable (1: that is stable)."""

    check: ResolvedCheck
    worse: float
    outcomes: tuple[Outcome, ...]

    @property
    def caught(self) -> tuple[float, ...]:
        """After how many seconds runs failed, the soonest first."""
        return tuple(sorted(one.at for one in self.outcomes if one.at is not None))

    @property
    def share(self) -> float:
        """The part of the runs that failed."""
        return len(self.caught) / len(self.outcomes)

    def within(self, portion: float) -> float | None:
        """After how many seconds such a part of all runs has failed; None: so many never did."""
        place = ceil(portion * len(self.outcomes))
        return self.caught[place - 1] if 0 < place <= len(self.caught) else None


def starts(times: Timeline, start: int, end: int) -> tuple[float, ...]:
    """When runs begin that follow one another between two moments. All of them end before the second one."""
    whole = int((end - start) // times.total)
    return tuple(start + number * times.total for number in range(whole))


def limits(
    check: ResolvedCheck, times: Timeline, grid: Grid, found: Sequence[Measurement], begins: Sequence[float]
) -> Replayed:
    """A check with a limit: `found` is what it measured of stable, at each instant of the grid."""
    expression = check.judge.expression
    if expression is not None:
        found = [replace(one, weighed=weighed(expression, one)) if isinstance(one, Sample) else one for one in found]
    return Replayed(check, 1.0, tuple(_limit(check, times, grid, found, start) for start in begins))


def _limit(check: ResolvedCheck, times: Timeline, grid: Grid, found: Sequence[Measurement], start: float) -> Outcome:
    state: CheckStatus = unmeasured(check)
    seen = False
    begins = warm(check, times.first_traffic)
    for step in times.steps:
        if not step.traffic:
            continue
        for index in grid.between(start + max(step.settled, begins), start + step.ends):
            at = datetime.fromtimestamp(grid.start + index * grid.step, UTC)
            measured = replace(found[index], at=at)
            seen = seen or not isinstance(measured, NoData)
            state = judge(check, state, measured)
            if failed(state):
                return Outcome(at.timestamp() - start, state.message, seen=seen)
            if held_too_long(check, state, at):
                words = f"held for longer than {check.settings.hold_limit}: {state.message}"
                return Outcome(at.timestamp() - start, words, seen=seen)
    return Outcome(held=not state.dry_run and state.verdict.value != "Pass", seen=seen)


def comparison(
    check: ResolvedCheck,
    rule: Against[Any],
    times: Timeline,
    grid: Grid,
    sides: Sequence[Counted | None],
    begins: Sequence[float],
    worse: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """A comparison: `sides` is what stable counted up to each instant of the grid since the one before; None: nobody knows.

    `progress` is told how many runs were replayed.
    """
    again = ceil(LEAST_REPLAYS / len(begins)) if begins else 0
    outcomes: list[Outcome] = []
    for number, start in enumerate(begins):
        for draw in range(again):
            random = Random(f"{check.name} {number} {draw} {worse}")  # noqa: S311 - a simulation
            outcomes.append(_Run(check, rule, times, grid, sides, start).outcome(random, worse))
        progress(number + 1)
    return Replayed(check, worse, tuple(outcomes))


@dataclass(frozen=True, slots=True)
class _Run:
    check: ResolvedCheck
    rule: Against[Any]
    times: Timeline
    grid: Grid
    sides: Sequence[Counted | None]
    start: float

    def outcome(self, random: Random, worse: float) -> Outcome:
        held = seen = False
        rule, process, known = self.rule, 0, self.rule.begin()
        for step in self.times.steps:
            if not step.process:
                continue
            known = rule.moved(known) if step.process == process else rule.begin()
            process = step.process
            held = False  # what was not known at one step is not what is not known at the next
            for index, side in self._looks(step):
                if side is None:
                    continue
                seen = seen or side.requests > 0
                known = rule.folded(known, look(rule, random, side, Divided(step.share, step.mirror), worse))
                finding = rule.stands(known)
                held = finding.reason == "Overdispersed"
                if finding.standing is Standing.FAIL:
                    at = self.grid.start + index * self.grid.step - self.start
                    return Outcome(at, finding.message, seen=seen)
        return Outcome(held=held, seen=seen)

    def _looks(self, step: StepTime) -> Iterator[tuple[int, Counted | None]]:
        """What was counted between each two instants at which the counters of a step can be read."""
        since = reads(self.rule, self.check, step, self.times.first_traffic)
        inside = self.grid.between(self.start + since, self.start + step.ends)
        for index in inside[1:]:
            yield index, self.sides[index]


def together(replays: Sequence[Replayed], runs: int) -> float:
    """The part of the runs in which any check would have failed a canary that is stable; dry runs fail none."""
    healthy = [one.outcomes for one in replays if one.worse == 1 and not one.check.settings.dry_run]
    most = max((len(outcomes) // runs for outcomes in healthy), default=1)
    failed = sum(
        any(outcomes[_same(outcomes, runs, number, draw)].at is not None for outcomes in healthy)
        for number in range(runs)
        for draw in range(most)
    )
    return failed / (runs * most)


def _same(outcomes: Sequence[Outcome], runs: int, number: int, draw: int) -> int:
    """Where the replay of a run is; a check that is replayed once says the same at every draw."""
    again = len(outcomes) // runs
    return number * again + draw % again


def a_week(alarms: float, runs: int, times: Timeline) -> float:
    """So many alarms in so many runs, for a week of runs that follow one another."""
    return alarms * WEEK / (runs * times.total)


def with_share(times: Timeline, share: float) -> Timeline:
    """The same with another share of the canary (a part of 1) wherever users' requests are compared."""
    return replace(
        times,
        steps=tuple(replace(step, share=share) if step.process and not step.mirror else step for step in times.steps),
    )
