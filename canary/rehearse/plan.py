"""What a plan comes to: its timeline, what each check can find at each step and how soon, and what is doubtful about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Protocol, runtime_checkable

from canary.checks.judges.against import Against
from canary.checks.judges.comparison import Versus
from canary.checks.judges.condition import Expression
from canary.checks.judges.slower import Slower
from canary.checks.judges.threshold import Bounds
from canary.checks.resolve import ResolvedCheck
from canary.model.rollout import Promotion, RolloutSpec
from canary.rehearse.detection import Found, detection
from canary.rehearse.drawing import Traffic
from canary.rehearse.timeline import ACCEPT, Samples, Timeline, interval, samples, timeline

Json = dict[str, Any]


@runtime_checkable
class HasAlpha(Protocol):
    """A judge that has a part of a run's alpha: its own or of the shared one, which `processes` that are judged apart share."""

    own: Fraction | None
    alpha: Fraction
    processes: int


@dataclass(frozen=True, slots=True)
class Part:
    """Where alpha goes: `alpha` is the chance of a check over a run, `evidence` what it takes in each process."""

    check: ResolvedCheck
    alpha: Fraction
    own: bool
    processes: int

    @classmethod
    def of(cls, check: ResolvedCheck) -> Part | None:
        """None: the check has none, since it compares nothing."""
        judge = check.judge
        if not isinstance(judge, HasAlpha):
            return None
        return cls(check, judge.alpha, judge.own is not None, max(judge.processes, 1))

    @property
    def evidence(self) -> float:
        return self.processes / float(self.alpha)


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison, and what it finds at each step; `found` is empty where the traffic is not known."""

    check: ResolvedCheck
    rule: Against[Any]
    traffic: Traffic | None
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A check with a limit, and how often it measures at each step where the canary has traffic."""

    check: ResolvedCheck
    samples: tuple[Samples, ...]


Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a run before it begins.

    `others` are checks of which nothing is calculated, `unknown` those that cannot be resolved or whose traffic cannot be counted, and why.
    """

    spec: RolloutSpec
    times: Timeline
    worse: float
    settle: float
    compared: tuple[Compared, ...]
    sampled: tuple[Sampled, ...]
    others: tuple[ResolvedCheck, ...]
    unknown: Mapping[str, str]

    @property
    def approvals(self) -> int:
        return sum(step.approval for step in self.times.steps)

    @property
    def windows(self) -> int:
        return sum(step.window for step in self.times.steps)

    @property
    def gates(self) -> int:
        """Steps that wait for a window, or for another system."""
        return sum(bool(step.gate) for step in self.times.steps)

    @property
    def checks(self) -> tuple[ResolvedCheck, ...]:
        """Those that are resolved."""
        return (*(one.check for one in self.compared), *(one.check for one in self.sampled), *self.others)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Where alpha goes."""
        return tuple(part for check in self.checks if (part := Part.of(check)) is not None)

    @property
    def alpha(self) -> float:
        """The chance that any comparison fails a canary that is as good as stable, in a whole run, at most."""
        return float(sum(part.alpha for part in self.parts if not part.check.settings.dry_run))

    @property
    def early(self) -> tuple[str, ...]:
        """The comparisons that may end a hold before it is over."""
        return tuple(one.check.name for one in self.compared if isinstance(one.rule, Versus) and one.rule.promote_early)


def plan(
    spec: RolloutSpec,
    checks: Sequence[ResolvedCheck],
    traffic: Mapping[str, Traffic],
    worse: float,
    settle: float,
    unknown: Mapping[str, str] | None = None,
    progress: Progress = lambda _name, _done, _whole: None,
) -> Plan:
    """Rehearse a run of these checks, of which comparisons know their alpha, with the traffic of each comparison by name.

    `progress` is told of which check so many steps of so many are simulated.
    """
    times = timeline(spec, checks, settle)
    compared, sampled, others = [], [], []
    for check in checks:
        match check.judge:
            case Against() as rule:
                there = traffic.get(check.name)
                told = partial(progress, check.name)
                found = detection(check, rule, times, there, worse, progress=told) if there is not None else ()
                compared.append(Compared(check, rule, there, found))
            case Bounds() | Expression():
                there_is = (step for step in times.steps if step.traffic)
                sampled.append(Sampled(check, tuple(samples(check, step, times.first_traffic) for step in there_is)))
            case _:
                others.append(check)
    return Plan(spec, times, worse, settle, tuple(compared), tuple(sampled), tuple(others), dict(unknown or {}))


def document(found: Plan) -> Json:
    """The same for programs. Times are seconds; those of steps count from the start of the run, others from that of the hold."""
    return {
        "assumed": {"acceptSeconds": ACCEPT, "settleSeconds": found.settle},
        "times": found.worse,
        "steps": [
            {
                "step": step.index,
                "asks": step.label,
                "startsAt": step.starts,
                "acceptedAt": step.accepted,
                "holdSeconds": step.hold,
                "endsAt": step.ends,
                "waitsForApproval": step.approval,
                "waitsForWindow": step.gate if step.window else None,
                "waitsForGate": step.gate if step.gate and not step.window else None,
                "process": step.process,
            }
            for step in found.times.steps
        ],
        "totalSeconds": found.times.total,
        "approvals": found.approvals,
        "promotion": found.spec.promotion_mode.value,
        "alpha": {
            "spec": float(found.spec.shared_alpha),
            "sum": found.alpha,
            "checks": [
                {
                    "check": part.check.name,
                    "alpha": float(part.alpha),
                    "own": part.own,
                    "processes": part.processes,
                    "evidenceNeeded": round(part.evidence, 4),
                    "dryRun": part.check.settings.dry_run,
                }
                for part in found.parts
            ],
        },
        "comparisons": [
            {
                "check": one.check.name,
                "requestsPerSecond": one.traffic.rate if one.traffic is not None else None,
                "errorRate": None if one.traffic is None or isinstance(one.rule, Slower) else one.traffic.failing,
                "slower": _slower(one),
                "steps": [
                    {
                        "step": step.step,
                        "firstLookSeconds": step.first_look,
                        "medianSeconds": step.half,
                        "p95Seconds": step.most,
                        "caughtInThisStep": None if step.never else step.within,
                        "caughtByItsEnd": step.by_its_end,
                        "longEnough": not step.never and step.long_enough,
                        "never": step.never or None,
                    }
                    for step in one.found
                ],
            }
            for one in found.compared
        ],
        "limits": [
            {
                "check": one.check.name,
                "limit": one.check.limit,
                "intervalSeconds": interval(one.check),
                "windowSeconds": one.check.settings.window.seconds if _windowed(one) else None,
                "failuresTolerated": one.check.settings.failure_limit
                if one.check.sliding is None
                else one.check.sliding.most - 1,
                "ofTheLast": None if one.check.sliding is None else one.check.sliding.of,
                "dryRun": one.check.settings.dry_run,
                "steps": [{"step": each.step, "samples": each.count, "clean": each.clean} for each in one.samples],
            }
            for one in found.sampled
        ],
        "notCalculated": [check.name for check in found.others],
        "mayEndHoldsEarly": list(found.early),
    }


def afterwards(found: Plan) -> str:
    """What comes after the last step, in words."""
    match found.spec.promotion_mode:
        case Promotion.COPY:
            return "then stable is given the canary's pod spec, which takes as long as its pods do"
        case Promotion.AWAIT:
            return "then all traffic stays on the canary until stable runs the same revision, or for `promote`"
        case Promotion.SWAP:
            return "then the two change roles"


def _slower(one: Compared) -> list[Json] | None:
    if not isinstance(one.rule, Slower) or one.traffic is None:
        return None
    parts = zip(one.rule.bounds, one.traffic.slow, strict=True)
    return [{"thanSeconds": bound, "part": part} for bound, part in parts]


def _windowed(one: Sampled) -> bool:
    return any(each.clean is not None for each in one.samples)
