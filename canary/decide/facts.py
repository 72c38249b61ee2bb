"""One frozen world, clock included: everything that a decision may rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Self

from canary.checks.resolve import ResolvedCheck
from canary.checks.traffic import Counters
from canary.decide.reasons import INVALID
from canary.model.measurement import Measured, Measurement, Reading
from canary.model.requests import Request
from canary.model.rollout import RouteKind
from canary.model.run_status import Outcome
from canary.model.status import RolloutStatus
from canary.model.workload_status import ScaleStatus
from canary.model.workloads import DEPLOYMENT
from canary.preflight.findings import Finding
from canary.routes.acceptance import Acceptance, Answer
from canary.routes.adding import NONE_STANDING, Standing
from canary.routes.intent import Intent
from canary.routes.key import RouteKey
from canary.routes.opt_in import Additions
from canary.routes.pair import Backend, Pair, Weights


@dataclass(frozen=True, slots=True)
class RuleView:
    """Our pair in one rule: its weights, and the weight of all other backends."""

    key: str
    weights: Weights
    others: int = 0
    digest: str = ""
    """What identifies the rule wherever it is."""
    sticky: bool = False
    """It keeps sessions where they are, whatever its weights say."""
    reads: bool = False
    """Whether it takes requests of safe methods only."""
    filters: int | None = None
    """How many filters it has; None where it has no list of them."""
    replaced: bool = False
    """Somebody took stable out of it, and others have its traffic now: they count as stable, and only the canary's weight is ours."""
    instead: Backend | None = None
    """Somebody took stable out of it, where nobody else has traffic: what has its place now and gets its weight, since stable is not there any more."""

    @property
    def idle(self) -> bool:
        """Whether both weights of the pair are 0: there is nothing to divide."""
        return self.weights.total == 0

    @property
    def given_away(self) -> bool:
        """Whether all requests of the rule go to other backends than the pair."""
        return self.idle and self.others > 0


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route as it is now. `intent` is the run annotation if it names this Rollout; `rules` are those with `pair`."""

    key: RouteKey
    pair: Pair
    exists: bool = True
    missing: str = ""
    """Why it cannot be seen, whether it exists or not; empty where it would be."""
    generation: int = 0
    about: str = ""
    """A digest of what a gateway has to have looked at: the rules that are the run's, and all that is of no rule. Empty: nobody can tell."""
    since: int = 0
    """The generation from which on it has said that, as far as is known: whoever has accepted this one, or a later one, serves it."""
    named: str = ""
    """A digest of every rule, whoever's, that names one of the pair: by these come all requests that the two get by this route."""
    rules: tuple[RuleView, ...] = ()
    intent: Intent | None = None
    acceptance: Acceptance = field(default_factory=lambda: Acceptance(accepted=False))
    answers: tuple[Answer, ...] = ()
    """What its parents say of it, one by one."""
    copied: Mapping[str, Fraction] = field(default_factory=dict)
    """Of what share of its requests (percent) each rule sends copies to the canary, by key; of all with a filter for it."""
    added: Standing = NONE_STANDING
    """What is there of the rules that the run has added to it."""
    additions: Mapping[int, Additions] = field(default_factory=dict)
    """The rules that each (one-based) step with a `match` adds to it as it is, or why it may not."""
    refusals: Mapping[int, str] = field(default_factory=dict)
    """Why which of these steps could not, whatever other runs have added for now."""
    writer: str = ""
    """The field manager, other than us, that wrote the rules last."""
    problem: str = ""
    """Why our pair cannot be read out of it as the spec says, when it cannot. What a run has written there is in `rules` all the same."""
    besides: tuple[str, ...] = ()
    """Rules, in words, that give the canary traffic and are not the run's: in `rules` there are only those that are."""
    declared: bool = True
    """False for a route that the run has written and that the spec names no more."""
    stale: bool = False
    """What was written to it is of another pair, or of other rules, than the spec names now: it is to be put back first."""
    occupied: tuple[str, ...] = ()
    """Where it is stale: the rules, as the spec names them now, in which the canary of now has traffic once that is put back."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """The present keys of rules that the status remembers by other ones, because somebody has moved them."""
    unreadable: bool = False
    """Our annotation is there and says nothing that a run could have written: it counts as absent."""

    @property
    def share(self) -> Fraction:
        """The largest share of the canary in any rule, in percent of the pair."""
        shares = [rule.weights.share for rule in self.rules]
        return max(shares) if len(shares) > 1 else shares[0] if shares else Fraction(0)

    @property
    def full(self) -> bool:
        """Whether the canary has all of the pair's traffic, in every rule where the pair has some."""
        return all(rule.weights.share == 100 or rule.given_away for rule in self.rules)

    @property
    def kind(self) -> RouteKind:
        return self.key.kind

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def label(self) -> str:
        return self.key.label


@dataclass(frozen=True, slots=True)
class CopyView:
    """A copy of a pod spec on record: by which Rollout (uid) and run, and the revision that it gave the workload.

    `copied` is empty where an earlier version kept no such record; `replaced` is the revision that was there before.
    """

    uid: str
    run: int
    copied: str
    replaced: str


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload as it is now. `revision` is a digest of its pod spec, and of what else the Rollout includes.

    `kind` is spelt as `canary.model.workloads.kind_of` does.
    """

    name: str
    exists: bool
    revision: str = ""
    ready: int = 0
    rolled_out: bool = False
    """Every replica runs the current template and is ready."""
    copied: CopyView | None = None
    """What a copy of this Rollout has left on record on it."""
    writer: str = ""
    """The field manager, other than us, that wrote its pod spec last."""
    replicas: int = 0
    """How many are wanted."""
    images: str = ""
    """Of its containers, with commas in between; for people."""
    scaled: bool = False
    """We are on record as who has scaled it: its replicas are ours to give back."""
    scaler: str = ""
    """The field manager, other than us, that set its replicas last."""
    emptied: datetime | None = None
    """When `scaler` set them, where it was to none, by the API server's clock."""
    kind: str = DEPLOYMENT
    stuck: str = ""
    """Why its pods may never come to run its template, where somebody has to do something about it."""
    unknown: str = ""
    """Why its revision, which is empty then, is not known: some content that it includes cannot be read."""
    bare: str = ""
    """What its revision would be by its pod spec alone, where it includes more."""
    pod_spec: str = ""
    """Of a revision that includes more: a digest of the pod spec without what names that. Another one is another revision, known or not."""

    @property
    def known(self) -> bool:
        """Whether it is there and its revision is known."""
        return self.exists and not self.unknown

    @property
    def who_emptied(self) -> str:
        """Who has set its replicas to none, and when, in words behind a comma; empty: nobody is on record, or it has some."""
        if self.replicas or not self.scaler or self.emptied is None:
            return ""
        return f", since {self.scaler} set its replicas to 0 at {self.emptied:%H:%M:%S} UTC on {self.emptied:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Untidied:
    """A try to put back what a copy replaced, or to take the record of a copy off, that has failed, and so has each since `since`."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """A workload that is declared and cannot be seen: whether it is there, and what it runs, nobody knows.

    `kind` is spelt as `canary.model.workloads.kind_of` does; `why` says what is missing, and what to do about it.
    """

    name: str
    kind: str
    why: str


DENIED_FOR = timedelta(minutes=5)
"""Until replicas are written again after that was refused: somebody may have granted the right, or the refusal was for a moment."""


@dataclass(frozen=True, slots=True)
class ScalingView:
    """Who else scales the canary workload, and how our own writes of its replicas go."""

    known: bool = False
    """Whether it is known which autoscalers there are."""
    unread: str = ""
    """Why that cannot be known, where it is not for want of time."""
    autoscaler: str = ""
    """Kind and name of one that targets the workload; empty: none does."""
    failed: str = ""
    """Why the last write of its replicas failed, as long as it does."""
    denied: bool = False
    """It was refused, for want of a right or by admission, or changed there. After a run it is not tried again for DENIED_FOR."""


UNSCALABLE = ScalingView()


@dataclass(frozen=True, slots=True)
class FormerView:
    """A workload that this Rollout has scaled and that is its canary no more. `unseen`: its kind is out of sight."""

    view: WorkloadView
    scaling: ScalingView
    unseen: bool = False
    used: bool = False
    """Some Rollout names it, in whatever role: this one as stable, or another one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something declared that cannot work: where, and what to do about it."""

    field: str
    message: str
    reason: str = INVALID
    """Of the conditions, while this is the first problem."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the API server's copy of the status says already: what survives a crash on this very line."""

    run: int = 0
    outcome: Outcome | None = None
    request: str = ""
    verb: str = ""
    """What that request asked for."""
    removed: bool = False
    """Whether the annotation of that request was gone since."""
    copying: bool = False
    """That run is on record as one that copies to the stable workload."""
    step: int = 0
    """The step of that run; 0 before its first one."""
    share: float = 0
    """The canary's share of the pair that people can read, in percent."""
    scale: ScaleStatus | None = None
    """What was given of replicas, or is to be."""

    @classmethod
    def of(cls, status: RolloutStatus) -> Self:
        """What a status on record says."""
        return cls(
            run=status.run.number if status.run and status.active else 0,
            outcome=status.run.outcome if status.run else None,
            request=status.last_request.id if status.last_request else "",
            verb=status.last_request.verb if status.last_request else "",
            copying=status.active and status.run is not None and status.run.copied is not None,
            removed=status.last_request.removed if status.last_request else False,
            step=status.step.index if status.step and status.active else 0,
            share=status.split.written,
            scale=status.scale,
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """The world of one Rollout at `now`.

    `stable` and `canary` are the workloads by their present role, after any swap. None: none is declared, or it cannot be
    seen, which `unseen_stable` and `unseen_canary` say then. `measurements` are those that have come in since the last
    decision, oldest first, by name of the check.
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
    unseen_stable: Unseen | None = None
    unseen_canary: Unseen | None = None
    swapped: bool = False
    """By which roles the workloads are told apart here: a decision that changes them was made by those of before."""
    checks: tuple[ResolvedCheck, ...] = ()
    measurements: tuple[tuple[str, Measured], ...] = ()
    counters: Counters | None = None
    """Of what each backend gets, as `spec.traffic` declares them."""
    traffic: Reading | None = None
    """What the counters of both backends said last; None: nobody has looked since the last decision."""
    request: Request | None = None
    unstamped: str = ""
    """The plain request that was to get an id and could not be given one, or not soon; empty: there is none."""
    vouched: bool | None = None
    """Whether an admission policy sees to it that the request is by whom it says; None: that is being tried, or nobody has to know."""
    problems: tuple[Problem, ...] = ()
    unread: str = ""
    """Why what is declared now cannot be read, in words; empty: it can. What is gone by then is what was declared before, or as much as can be read.

    That is good for judging and for going back. Whatever else is declared is not known, so nothing rises, is promoted or completed.
    """
    findings: tuple[Finding, ...] = ()
    """Why what stands around the routes would serve no run; during one only what their gateways may not be asked for."""
    unseen_grants: str | None = ""
    """That nobody can tell whether a namespace may be crossed, in words; None: as before, since lists are still coming in."""
    recorded: Recorded = Recorded()
    turn: str = ""
    """This controller's turn, as the annotations on routes name it; empty: none is named."""
    over: frozenset[str] = frozenset()
    """Turns of controllers that have ended with nothing under way: nothing of theirs can come late."""
    fresh: bool = False
    """The status was taken over from the API server, and some routes name a turn that is neither ours nor over."""
    since: datetime | None = None
    """When this controller took the run over: what was measured before is no evidence for a rise."""
    settle: timedelta = timedelta(0)
    """How long the data planes of these routes may take to follow what their gateways report."""
    blind: bool = False
    """Watches are broken: what is known may be old, and time does not count against anybody."""
    blind_since: datetime | None = None
    """Since when they are, where that is known."""
    senseless: tuple[str, ...] = ()
    """Members of the status on record that no version of ours would have written; they count as absent."""
    unwritten: Mapping[RouteKey, str] = field(default_factory=dict)
    """Why the last write of a route failed, as long as it does."""
    uncopied: str = ""
    """Why the last try to copy a pod spec failed, as long as it does."""
    unrestored: Mapping[int, str] = field(default_factory=dict)
    """By the number of a run: why what its copy replaced cannot be put back, since it is nowhere to be found."""
    untidied: Untidied | None = None
    """What of a copy could not be put back or taken off when that was tried last."""
    copied_to: WorkloadView | None = None
    """The workload that the run on record has copied to, where that is not the stable one any more; None: it is, or is not to be seen."""
    altered: Mapping[RouteKey, int] = field(default_factory=dict)
    """Routes of which the API server kept something else than we wrote last: what they say in this generation is no other hand's."""
    scaling: ScalingView = UNSCALABLE
    """Looked at only where the Rollout declares `scale`, or has something left of it."""
    former: Mapping[tuple[str, str], FormerView] = field(default_factory=dict)
    """Workloads on record as scaled that are not the canary, by kind and name."""
    users: str = ""
    """What besides the rules of this Rollout sends users to the canary, in words. Looked at only where it has replicas to take away."""
    time_of_day: datetime | None = None
    """What the API server's clock says, which is set by its people: for hours of the week and nothing else. None: nobody knows."""
    gate: Measurement | None = None
    """What the system said last that the gate of the step asks. Only this controller has heard it."""
    good: Mapping[str, datetime] = field(default_factory=dict)
    """Comparisons that have proved the canary good, and since when they have counted. Only this controller has seen it."""
