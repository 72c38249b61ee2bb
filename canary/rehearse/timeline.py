"""When each step of a plan begins and ends if nothing objects, and what a check gets to see of it. Pure.

Times are seconds since the run began. Nobody knows beforehand how long a gateway takes to accept a route, so `ACCEPT` is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from canary.checks.comparable import incomparable, processes, unanswered
from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.resolve import ResolvedCheck
from canary.model.checks import SHORTEST_INTERVAL
from canary.model.rollout import RolloutSpec
from canary.view.rollout import asks

Json = dict[str, Any]

ACCEPT = 1.0
"""Seconds that gateways are assumed to take until they have accepted what was written."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step, and when it is what it is.

    `starts` is when its routes are written, `accepted` when every gateway has accepted them: its hold begins then. `settled` is
    when the data planes follow, and `ends` when all that is waited for is there; a person who has to approve comes on top
    (`approval`), and so does the time until a `gate` opens (in words; empty: there is none), which is a `window` or another system. `share` and `mirror` are parts of 1: of the pair's requests, and of those that are copied. `process` is that of
    its comparisons, 0 where `why` nothing is compared. `answers`: those to mirrored requests are.
    """

    index: int
    label: str
    starts: float
    accepted: float
    settled: float
    hold: float
    ends: float
    approval: bool
    gate: str
    share: float
    mirror: float
    traffic: bool
    process: int
    why: str
    answers: bool = False
    window: bool = False

    @property
    def over(self) -> float:
        """When its hold is over."""
        return self.accepted + self.hold


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of a run, and when the canary gets its first traffic (None: never), which is what an `initialDelay` counts from."""

    steps: tuple[StepTime, ...]
    first_traffic: float | None

    @property
    def total(self) -> float:
        """Seconds from the first step to the end of the last one, without the time that people take."""
        return self.steps[-1].ends


def timeline(spec: RolloutSpec, checks: Sequence[ResolvedCheck], settle: float) -> Timeline:
    """The steps of a run at which nobody objects, one after the other. `settle`: seconds that data planes take."""
    found: list[StepTime] = []
    now, first_traffic = 0.0, None
    numbers = processes(spec)
    for index, step in enumerate(spec.steps, 1):
        shares = spec.shares_at(index)
        traffic = shares.some or step.mirror is not None or step.match is not None
        if traffic and first_traffic is None:
            first_traffic = now
        accepted = now + ACCEPT
        hold = step.hold.seconds if step.hold is not None else 0.0
        time = StepTime(
            index=index,
            label=asks(step.model_dump(mode="json", by_alias=True, exclude_none=True)),
            starts=now,
            accepted=accepted,
            settled=accepted + settle,
            hold=hold,
            ends=accepted + hold,
            approval=step.approval is not None,
            gate=str(step.gate.window or step.gate) if step.gate is not None else "",
            window=step.gate is not None and step.gate.window is not None,
            share=float(shares.weight) / 100,
            mirror=float(step.mirror.share) / 100 if step.mirror is not None else 0.0,
            traffic=traffic,
            process=numbers[index - 1],
            why=incomparable(spec, index),
            answers=not unanswered(spec, index),
        )
        waits = [first_look(check, time, first_traffic) for check in checks if not check.settings.dry_run]
        now = max([time.ends, *(at for at in waits if at is not None)])
        found.append(replace(time, ends=now))
    return Timeline(tuple(found), first_traffic)


def warm(check: ResolvedCheck, first_traffic: float | None) -> float:
    """When the check begins to look at a run at all: its `initialDelay` after the canary's first traffic."""
    return (first_traffic or 0.0) + check.settings.initial_delay.seconds


def first_look(check: ResolvedCheck, step: StepTime, first_traffic: float | None) -> float | None:
    """When a check says something of a step for the first time, at the latest; None: it does not apply there, or is not waited for."""
    if not step.traffic:
        return None
    if isinstance(check.judge, Answers) and not step.answers:
        return None
    if isinstance(check.judge, Answers):
        return max(step.settled + check.judge.lag.seconds, warm(check, first_traffic)) + SHORTEST_INTERVAL
    if isinstance(check.judge, Against):
        return None if step.why else reads(check.judge, check, step, first_traffic) + SHORTEST_INTERVAL
    if check.lasts is not None:
        return max(step.settled, warm(check, first_traffic)) + check.lasts.total_seconds()
    return max(step.settled + interval(check), warm(check, first_traffic))


def reads(rule: Against[Any], check: ResolvedCheck, step: StepTime, first_traffic: float | None) -> float:
    """When a comparison reads the counters of a step for the first time: looks lie between two readings."""
    return max(step.settled + rule.lag.seconds, warm(check, first_traffic))


def interval(check: ResolvedCheck) -> float:
    """Seconds between two looks; of a comparison in the long run, where few compare."""
    declared = max(check.settings.interval.seconds, SHORTEST_INTERVAL)
    return check.judge.pause(declared) if isinstance(check.judge, Against) else declared


def looks(
    rule: Against[Any], check: ResolvedCheck, step: StepTime, first_traffic: float | None, until: float
) -> list[float]:
    """When a comparison looks at a step up to a moment; the first time is that of the reading before the first look.

    As the controller does: after 1, 2, 4, … s, up to its pace.
    """
    at, pause, found = reads(rule, check, step, first_traffic), SHORTEST_INTERVAL, []
    while at <= until:
        found.append(at)
        at += pause
        pause = min(2 * pause, interval(check))
    return found


@dataclass(frozen=True, slots=True)
class Samples:
    """How often a check with a limit measures while a step holds.

    `clean` are those whose window lies in the step altogether; None where its query has no window.
    """

    step: int
    count: int
    clean: int | None


def samples(check: ResolvedCheck, step: StepTime, first_traffic: float | None) -> Samples:
    """What a hold gives. A step that is held until a check has said something has one in any case."""
    begins = max(step.settled, warm(check, first_traffic))

    def within(seconds: float) -> int:
        return int(seconds / interval(check)) if seconds >= 0 else 0

    clean = None
    if "window" in check.source.names():
        clean = within(step.over - max(begins, step.accepted + check.settings.window.seconds))
    return Samples(step.index, within(step.over - begins), clean)
