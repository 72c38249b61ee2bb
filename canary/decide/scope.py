"""The scope of one decision: spec, status and facts together, and the questions that phases ask of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import TypedDict, TypeVar, Unpack

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.resolve import ResolvedCheck
from canary.decide.actions import Action
from canary.decide.facts import Facts, RouteView, RuleView, Unseen, WorkloadView
from canary.decide.once import once
from canary.decide.reasons import PLAN_CHANGED, SUPERSEDED
from canary.decide.verdict import unmeasured
from canary.model.check_status import CheckStatus
from canary.model.evolution import failed
from canary.model.rollout import Promotion, RolloutSpec, RouteKind
from canary.model.route_status import RouteStatus, SplitStatus, TrafficStatus
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.shares import Shares
from canary.model.status import Phase, RequestStatus, RolloutStatus
from canary.model.steps import Match, Mirror, Step
from canary.model.values import decimal_text
from canary.model.workload_status import FormerCanaryStatus, RevisionsStatus, ScaleStatus
from canary.routes.added import Added, recorded
from canary.routes.filters import Copied
from canary.routes.pair import Weights

T = TypeVar("T")

NOTHING = Fraction(0)

OVERRIDE_WINDOW = timedelta(minutes=10)
OVERRIDE_LIMIT = 3
CONTESTED_PACE = timedelta(seconds=10)
"""Between two times that a contested weight is put back."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes next, what to do, and why. `status` is the state that holds once the actions are done."""

    status: RolloutStatus
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None

    @property
    def phase(self) -> Phase:
        return self.status.phase or Phase.IDLE


class Place(Enum):
    """Where a decision goes on. A phase says where; which function that is, only the engine knows."""

    RESTING = "no run is under way"
    PROGRESSING = "at a step, to be looked at from the start: stops, restarts, hands of others"
    STEP = "at a step that nothing interrupts"
    PAUSED = "a person has to say something"
    PROMOTING = "all steps passed"
    FINISHING = "the run is won"
    ROLLING_BACK = "the run is lost"

    @classmethod
    def of(cls, phase: Phase | None) -> Place:
        """Where a decision about a Rollout of this phase begins."""
        match phase:
            case Phase.PROGRESSING:
                return cls.PROGRESSING
            case Phase.PAUSED:
                return cls.PAUSED
            case Phase.PROMOTING:
                return cls.PROMOTING
            case Phase.ROLLING_BACK:
                return cls.ROLLING_BACK
            case Phase.IDLE | Phase.SUCCEEDED | Phase.ROLLED_BACK | Phase.INVALID | None:
                return cls.RESTING


class Changes(TypedDict, total=False):
    """The members of a status that a decision may change; what is in them comes from `model.evolution`."""

    phase: Phase | None
    run: RunStatus | None
    previous_run: RunStatus | None
    step: StepStatus | None
    split: SplitStatus
    traffic: TrafficStatus
    checks: tuple[CheckStatus, ...]
    routes: tuple[RouteStatus, ...]
    revisions: RevisionsStatus
    scale: ScaleStatus | None
    former_canaries: tuple[FormerCanaryStatus, ...]
    swapped: bool
    roles_known: bool
    paused: PauseStatus | None
    overrides: tuple[datetime, ...]
    last_request: RequestStatus | None


@dataclass(frozen=True)
class Scope:
    """Everything a phase looks at. Immutable: `with_` gives the next one. What many ask it is found out once."""

    spec: RolloutSpec
    status: RolloutStatus
    facts: Facts
    actions: tuple[Action, ...] = ()

    def with_(self, *actions: Action, **changes: Unpack[Changes]) -> Scope:
        """The same world with some members of the status changed and some actions added."""
        if not changes and not actions:
            return self
        status = self.status.model_copy(update=changes) if changes else self.status
        return Scope(self.spec, status, self.facts, (*self.actions, *actions))

    def goto(self, place: Place | None = None) -> Goto:
        """Go on elsewhere in this very decision; by default where the phase says."""
        return Goto(self, place or Place.of(self.status.phase))

    def decide(self, reason: str, message: str, wake_at: datetime | None = None) -> Decision:
        """End the decision here."""
        message = message[:1024]
        return Decision(self.status.model_copy(update={"message": message}), reason, message, self.actions, wake_at)

    # -- the run ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.facts.now

    @once
    def active(self) -> bool:
        """Whether a run is under way."""
        return self.status.active

    @once
    def run(self) -> RunStatus:
        """The run; only asked for in phases that have one."""
        if self.status.run is None:
            raise AssertionError("a phase with a run has a run")
        return self.status.run

    @once
    def step(self) -> StepStatus:
        """The step; only asked for in phases that have one."""
        if self.status.step is None:
            raise AssertionError("a phase with a run has a step")
        return self.status.step

    @property
    def declared_step(self) -> Step | None:
        """The declared step that the run is at; None in the preflight or past the end."""
        index = self.step.index
        return self.spec.steps[index - 1] if 1 <= index <= len(self.spec.steps) else None

    def shares_at(self, index: int) -> Shares:
        """The canary's shares at a one-based step."""
        return self.spec.shares_at(index)

    @property
    def promotion(self) -> Promotion:
        """How the run is promoted: as it is declared now, and to its end by Copy once it copies."""
        run = self.status.run
        return Promotion.COPY if run is not None and run.copied is not None else self.spec.promotion_mode

    @once
    def shares(self) -> Shares:
        """The canary's shares that the run is after now."""
        run = self.status.run
        if run is None or self.status.step is None:
            return Shares()
        if run.outcome is None and run.unavailable_since is not None:
            return Shares()  # its users would get 503s
        swap = self.promotion is Promotion.SWAP
        if run.outcome is Outcome.ROLLED_BACK:
            return Shares()
        if run.outcome is Outcome.SUCCEEDED:
            return Shares(Fraction(100 if run.swap else 0))
        if self.status.phase is Phase.PROMOTING and swap:
            return Shares(Fraction(100))
        return self.shares_at(self.status.step.index)

    def mirror_at(self, index: int) -> Mirror | None:
        """The copies that a one-based step asks for; those of a step before it are over."""
        return self.spec.steps[index - 1].mirror if 1 <= index <= len(self.spec.steps) else None

    @once
    def mirror(self) -> Mirror | None:
        """The copies that the run is after now; None: the canary is to get none."""
        return self.mirror_at(self.status.step.index) if self._extras and self.status.step is not None else None

    def match_at(self, index: int) -> tuple[Match, ...] | None:
        """The requests that a one-based step lets opt in; those of a step before it do no more."""
        return self.spec.steps[index - 1].match if 1 <= index <= len(self.spec.steps) else None

    @once
    def match(self) -> tuple[Match, ...] | None:
        """The requests that are to reach the canary now because they opt in; None: there are no such."""
        return self.match_at(self.status.step.index) if self._extras and self.status.step is not None else None

    @once
    def _extras(self) -> bool:
        """Whether the run may have what lasts for one step only."""
        run, step = self.status.run, self.status.step
        if run is None or step is None or run.outcome is not None or run.unavailable_since is not None:
            return False
        return self.status.phase is not Phase.PROMOTING

    @property
    def wants_traffic(self) -> bool:
        """Whether the canary is to get any traffic now, of users or copied."""
        return self.shares.some or self.mirror is not None or self.match is not None

    @property
    def traffic_text(self) -> str:
        """What the canary is to get: `10 %`, `mirroring 20 %`, `10 % and mirroring 20 %`, `10 % and opted-in requests`."""
        return self._text(self.shares)

    @property
    def held_text(self) -> str:
        """The same as the routes give it now, where these do not list the pair any more: what others have in stable's place says how much that is."""
        beside = any(rule.replaced for route in self.live_routes for rule in route.rules)
        gone = any(route.exists and route.problem and not route.rules for route in self.facts.routes)
        return self._text(self.found if beside or gone else self.shares)

    def _text(self, shares: Shares) -> str:
        extras = []
        if self.mirror is not None:
            extras.append(f"mirroring {decimal_text(self.mirror.share)} %")
        if self.match is not None:
            extras.append("opted-in requests")
        return " and ".join([str(shares)] * (shares.some or not extras) + extras)

    @property
    def step_text(self) -> str:
        return f"step {self.step.index}/{self.step.total}"

    # -- routes -------------------------------------------------------------------------------------------------

    @once
    def live_routes(self) -> tuple[RouteView, ...]:
        """Routes that exist and list our pair, or what is left of it in the rules that this run has written."""
        return tuple(route for route in self.facts.routes if route.exists and (route.rules or not route.problem))

    @once
    def _records(self) -> dict[tuple[RouteKind, str], RouteStatus]:
        return {(record.kind, record.name): record for record in reversed(self.status.routes)}

    def remembered(self, route: RouteView) -> RouteStatus | None:
        """What the status says of a route."""
        return self._records.get((route.key.kind, route.key.name))

    def seen(self, remembered: RouteStatus) -> RouteView | None:
        """The route that a record of the status is of, as it is now."""
        return next((route for route in self.facts.routes if route.key.is_of(remembered)), None)

    def ours(self, route: RouteView) -> bool:
        """Whether the annotation on the route is of this very run."""
        return (
            route.intent is not None
            and route.intent.uid == self.facts.uid
            and self.status.run is not None
            and route.intent.run == self.status.run.number
        )

    def owned(self, route: RouteView) -> bool:
        """Whether this run has written the route, by the route's word or by ours."""
        remembered = self.remembered(route)
        return self.ours(route) or (self.active and remembered is not None and remembered.owned)

    def altered(self, route: RouteView) -> bool:
        """Whether what a route says now is what the API server made of a write of this run (admission does such), and no other hand's."""
        if self.facts.altered.get(route.key) == route.generation:
            return True
        remembered = self.remembered(route)
        return remembered is not None and remembered.altered == route.generation > 0 and self.owned(route)

    def baseline(self, route: RouteView) -> dict[str, Weights]:
        """Weights before the run, by rule key, for every rule that the route has now."""
        before: Mapping[str, Weights] = self.told_baseline(route)
        remembered = self.remembered(route)
        if self.active and remembered is not None and remembered.owned:
            # What this run found is on record twice; anybody who may write the route may change what the route says of it.
            before = {**before, **_read(remembered.baseline, Weights.parse)}
        return {
            rule.key: rule.weights.only_stable if rule.replaced else before.get(rule.key, rule.weights)
            for rule in route.rules
        }

    def told_baseline(self, route: RouteView) -> dict[str, Weights]:
        """The same of rules that are there, by the word of the route alone, as far as that is believed."""
        told = route.intent.baseline if route.intent is not None else {}
        if not told:
            return {}
        rules = {rule.key: rule for rule in route.rules}
        return {key: said for key, said in told.items() if key in rules and self._may_have_been(said, rules[key])}

    def _may_have_been(self, before: Weights, rule: RuleView) -> bool:
        """Whether a rule may have had these weights before a run, by the word of its route alone.

        Next to others a run keeps the sum of the pair (see `divide`); and at rest there is nothing to go back from where stable has all of it.
        """
        if not self.active and rule.weights.share == 0:
            return False
        return not rule.others or before.total == rule.weights.total

    def mirrors(self, route: RouteView) -> dict[str, Copied]:
        """What the run has on record of the copies that rules of a route send to the canary, by rule key.

        A rule that has come since and copies just what the run's rules do is one of them: somebody has copied one of those, filter and all.
        """
        if not (route.intent is not None and route.intent.mirrors) and not self.remembered_mirrors(route):
            return {}  # as nearly always
        record = self._mirrors_on_record(route)
        alike = [share for key, said in record.items() for share in (said.share, route.copied.get(key)) if share]
        strays = self._strays(route) if self.active and self.owned(route) else ()
        copies = {key: Copied(route.copied[key]) for key in strays if route.copied[key] in alike}
        found = self.edited_copies(route)
        return (
            record
            | copies
            | {there: record[key] for key, there in found.items()}
            | {key: record[key].ended for key in found}
        )

    def edited_copies(self, route: RouteView) -> dict[str, str]:
        """By the key of each rule on record that the run mirrors and that is gone: the rule that it is by now.

        Rules that somebody edited all at once may be none that can be told by content. One that copies, and of which nothing
        is on record, is one of those, and one that copies just as much before any other: a run mirrors no rule that did so before.
        One that does not list the pair any more is one only if it copies just as much.
        """
        record = self._mirrors_on_record(route)
        lost = {key: said.share for key, said in record.items() if said.share and self._gone(route, key)}
        if not lost:
            return {}
        strays, found = self._strays(route), dict[str, str]()
        for exactly, among in ((True, strays), (True, self._strays(route, listing=False)), (False, strays)):
            for key, share in lost.items():
                free = (there for there in among if there not in found.values())
                there = next((there for there in free if not exactly or route.copied[there] == share), None)
                if key not in found and there is not None:
                    found[key] = there
        return found

    def _mirrors_on_record(self, route: RouteView) -> dict[str, Copied]:
        known = self.remembered_mirrors(route)
        return known | self.noted_mirrors(route) if route.intent is not None and route.intent.mirrors else known

    def noted_mirrors(self, route: RouteView) -> dict[str, Copied]:
        """The same by the route alone, which goes on telling of what a rule was when it was written, whatever the status has found out since.

        Nothing of a rule that is gone; and nothing of one that the status, and the route itself, know by other content than it does, and of which the status says no such thing.
        """
        noted, known = route.intent.mirrors if route.intent is not None else {}, self.remembered_mirrors(route)
        remembered = self.remembered(route)
        marks = remembered.rules if remembered is not None and remembered.owned and self.active else {}
        told = route.intent.rules if route.intent is not None else {}
        now = {rule.key: rule.digest for rule in route.rules if rule.key in noted}
        return {
            key: said
            for key, said in noted.items()
            if (
                not self._gone(route, key)
                if key in known
                else key not in marks or told.get(key, "") in {marks[key], now.get(key)}
            )
        }

    @staticmethod
    def _gone(route: RouteView, key: str) -> bool:
        """Whether no rule goes by a key that has anything to do with the run."""
        return key not in route.copied and all(rule.key != key for rule in route.rules)

    def _strays(self, route: RouteView, *, listing: bool = True) -> list[str]:
        """The rules of a route that copy, and of which nothing is on record. `listing`: those that list the pair, or the others."""
        noted = self._mirrors_on_record(route).keys() | self._noted(route)
        pairs = {rule.key for rule in route.rules}
        return [key for key in route.copied if key not in noted and (key in pairs) is listing]

    def _noted(self, route: RouteView) -> set[str]:
        """The rules of a route that are on record, by key."""
        remembered = self.remembered(route)
        ours = remembered.baseline if remembered is not None and self.active and remembered.owned else {}
        return {*ours, *(route.intent.baseline if route.intent is not None else ())}

    def remembered_mirrors(self, route: RouteView) -> dict[str, Copied]:
        """The same by our own word alone: anybody who may write the route may change what the route says of it."""
        remembered = self.remembered(route)
        if remembered is None or not remembered.mirrors or not self.active or not remembered.owned:
            return {}
        return _read(remembered.mirrors, Copied.parse)

    def added(self, route: RouteView) -> dict[str, Added]:
        """What the run has on record of the rules that it added to a route, by their marks."""
        remembered = self.remembered(route)
        noted = route.intent.added if route.intent is not None else {}
        if remembered is None or not self.active:
            return {**noted}
        return recorded(remembered.added if remembered.owned else {}, noted, remembered.places)

    @once
    def opted_in(self) -> bool:
        """Whether some route has a rule now that this run has added for requests that opt in."""
        standing = [route for route in self.facts.routes if route.added.said]
        return any(route.added.said.get(mark) for route in standing for mark in self.added(route))

    @once
    def written(self) -> Fraction:
        """The largest share of the canary that any rule has now."""
        return max((route.share for route in self.live_routes), default=NOTHING)

    @once
    def found(self) -> Shares:
        """The shares that the routes have now, the largest of each: apart for the rules that a step of an undecided run names."""
        undecided = self.active and self.run.outcome is None
        named = self.spec.named_rules if undecided else frozenset[str]()
        if not named:
            return Shares(self.written)
        there = [rule for route in self.live_routes for rule in route.rules]
        apart = {rule.key: rule.weights.share for rule in sorted(there, key=_share) if rule.key in named}
        following = [rule.weights.share for rule in there if rule.key not in apart]
        return Shares(max(following, default=self.written), apart)

    @once
    def copied(self) -> Fraction:
        """The largest share of its requests that any rule sends copies of to the canary now, for this run; in percent."""
        copying = [route for route in self.facts.routes if route.copied]
        if not copying:
            return NOTHING
        return Fraction(max((route.copied.get(key, 0) for route in copying for key in self.mirrors(route)), default=0))

    @once
    def has_traffic(self) -> bool:
        """Whether the routes give the canary any traffic now: of users, of those that opt in, or copied for this run."""
        return bool(self.written or self.copied) or self.opted_in

    @property
    def pending(self) -> str:
        """Why some route could not be written yet, as far as that failed; empty when nothing did."""
        failed = (
            f"{route.label}: {self.facts.unwritten[route.key]}"
            for route in self.live_routes
            if route.key in self.facts.unwritten
        )
        return next(failed, "")

    @once
    def unaccepted(self) -> RouteView | None:
        """A route of which some parent has not accepted what it says; first one that it has refused."""
        waiting = [route for route in self.live_routes if not route.acceptance.accepted]
        return next((route for route in waiting if route.acceptance.refused), waiting[0] if waiting else None)

    # -- checks -------------------------------------------------------------------------------------------------

    @once
    def checks(self) -> tuple[tuple[ResolvedCheck, CheckStatus], ...]:
        """Every check with what it said last."""
        found = (_with_status(check, self.status.check(check.name)) for check in self.facts.checks)
        if self.facts.unread:
            return tuple((_with_alpha(check, said), said) for check, said in found)
        return tuple(found)

    @once
    def judging(self) -> tuple[tuple[ResolvedCheck, CheckStatus], ...]:
        """The checks that count: not the dry runs."""
        return tuple(pair for pair in self.checks if not pair[0].settings.dry_run)


@dataclass(frozen=True, slots=True)
class Goto:
    """A decision goes on at another place, so that the writes of both are in one."""

    scope: Scope
    place: Place


Next = Decision | Goto


def _with_status(check: ResolvedCheck, said: CheckStatus | None) -> tuple[ResolvedCheck, CheckStatus]:
    """Of one that is lost it is on record whether it is a dry run, which its template may have said."""
    if check.lost is not None and said is not None and said.dry_run != check.settings.dry_run:
        check = replace(check, settings=check.settings.model_copy(update={"dry_run": said.dry_run}))
    return check, said or unmeasured(check)


def _with_alpha(check: ResolvedCheck, said: CheckStatus) -> ResolvedCheck:
    """Of a comparison the alpha on record: which others share it cannot be read."""
    if not isinstance(check.judge, Against | Answers) or said.evidence is None or not 0 < said.evidence.alpha < 1:
        return check
    return replace(check, judge=check.judge.given(Fraction(str(said.evidence.alpha)), check.judge.processes))


def remembered_share(route: RouteStatus, rule: str) -> Fraction:
    """The share that the run gave a rule by what the status remembers, by its key; 0 where it remembers none."""
    share = route.shares.get(rule, route.share)
    return _exact(share) if share is not None else NOTHING


@lru_cache(4096)
def _exact(share: float) -> Fraction:
    """A share as it is spelt, not as it is kept in binary. There are few, and each is read in every look."""
    return Fraction(str(share))


def _share(rule: RuleView) -> Fraction:
    return rule.weights.share


def _read(remembered: Mapping[str, str], parse: Callable[[str], T]) -> dict[str, T]:
    """What the status remembers by rule key; what makes no sense is as good as not remembered."""
    found = {}
    for key, text in remembered.items():
        with suppress(ValueError):
            found[key] = parse(text)
    return found


def replaced(scope: Scope) -> str:
    """The revision of the stable workload as it is now: what a copy of the run that begins may replace."""
    stable = scope.facts.stable
    return stable.revision if stable is not None and stable.known else ""


def failed_revisions(status: RolloutStatus) -> frozenset[str]:
    """Revisions that were rolled back since one succeeded: they are not tried again before somebody asks for that."""
    return frozenset(with_last_failed(status).failed)


def with_last_failed(status: RolloutStatus) -> RevisionsStatus:
    """The revisions on record; once another run begins, that of the last one is among those that failed."""
    run, revisions = status.run, status.revisions
    lost = run is not None and run.outcome is Outcome.ROLLED_BACK and run.reason not in {SUPERSEDED, PLAN_CHANGED}
    return failed(revisions, run.revision) if lost and run is not None else revisions


def seen_revision(workload: WorkloadView | None, before: str | None, unseen: Unseen | None = None) -> str | None:
    """The revision of a workload as people read it: None where there is none, as it was `before` while it is not known."""
    if unseen is not None:
        return before
    if workload is None or not workload.exists:
        return None
    return before if workload.unknown else workload.revision


def measuring(spec: RolloutSpec, status: RolloutStatus) -> bool:
    """Whether checks are to be measured: a run is undecided and wants traffic on the canary."""
    return (
        status.active
        and status.run is not None
        and status.run.outcome is None
        and status.step is not None
        and status.step.index > 0
        and (_wants_traffic(spec, status.step.index) or (status.phase is Phase.PROMOTING and status.split.written > 0))
    )


def _wants_traffic(spec: RolloutSpec, index: int) -> bool:
    if index <= len(spec.steps) and (spec.steps[index - 1].mirror or spec.steps[index - 1].match) is not None:
        return True
    return spec.shares_at(index).some
