"""One frozen world, clock included: everything that a decision may rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from canary.gateway.acceptance import Acceptance
from canary.gateway.intent import Intent
from canary.gateway.pair import Pair, Weights
from canary.model.checks import ResolvedCheck
from canary.model.measurement import Measurement
from canary.model.requests import Request
from canary.model.rollout import RouteKind
from canary.model.status import Outcome


@dataclass(frozen=True, slots=True)
class RuleView:
    """Our pair in one rule: its weights, and the weight of all other backends."""

    key: str
    weights: Weights
    others: int = 0


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route as it is now. `intent` is the run annotation if it names this Rollout; `rules` are those with `pair`."""

    kind: RouteKind
    name: str
    pair: Pair
    exists: bool = True
    generation: int = 0
    rules: tuple[RuleView, ...] = ()
    intent: Intent | None = None
    acceptance: Acceptance = field(default_factory=lambda: Acceptance(accepted=False))
    writer: str = ""
    """The field manager, other than us, that wrote the rules last."""
    problem: str = ""
    """Why our pair cannot be read out of it, when it cannot."""
    declared: bool = True
    """False for a route that the run has written and that the spec names no more."""
    outdated: bool = False
    """What was written to it is of another pair, or of other rules, than the spec names now: it is to be put back first."""

    @property
    def share(self) -> Fraction:
        """The largest share of the canary in any rule, in percent of the pair."""
        return max((rule.weights.share for rule in self.rules), default=Fraction(0))

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload as it is now. `revision` is a digest of its pod spec."""

    name: str
    exists: bool
    revision: str = ""
    ready: int = 0
    rolled_out: bool = False
    """Every replica runs the current template and is ready."""
    copied: bool = False
    """It still carries the pod spec that a copy replaced."""
    replicas: int = 0
    """How many are wanted."""
    images: str = ""
    """Of its containers, with commas in between; for people."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something declared that cannot work: where, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the API server's copy of the status says already: what survives a crash on this very line."""

    run: int = 0
    outcome: Outcome | None = None
    request: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The world of one Rollout at `now`.

    `stable` and `canary` are the workloads by their present role, after any swap; `measurements` are those that
    have come in since the last decision, oldest first, by name of the check.
    """

    now: datetime
    name: str
    uid: str
    generation: int
    deleting: bool = False
    finalizer: bool = False
    routes: tuple[RouteView, ...] = ()
    stable: WorkloadView | None = None
    canary: WorkloadView | None = None
    checks: tuple[ResolvedCheck, ...] = ()
    measurements: tuple[tuple[str, Measurement], ...] = ()
    observed: Measurement | None = None
    request: Request | None = None
    problems: tuple[Problem, ...] = ()
    recorded: Recorded = Recorded()
