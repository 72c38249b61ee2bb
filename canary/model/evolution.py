"""How the status of a run changes: one function for each thing that can happen to it.

Nothing else makes one run or step out of another, so what belongs together changes together: an outcome comes with its
reason and its time, a step that is entered is fresh in every respect. What comes out is validated like what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from canary.model.base import ApiModel
from canary.model.bounded import MAX_RUNS, MOST_COUNTED
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.measurement import Counts
from canary.model.requests import Request
from canary.model.route_status import RouteStatus, SplitStatus, TrafficStatus
from canary.model.run_status import (
    CopyStatus,
    GateAnswer,
    GateStatus,
    Outcome,
    PauseStatus,
    RunStatus,
    StepStatus,
)
from canary.model.scaling import MOST_REPLICAS
from canary.model.status import RequestOutcome, RequestStatus
from canary.model.terms import TermsStatus
from canary.model.workload_status import MOST_FAILED, MOST_FORMER, FormerCanaryStatus, RevisionsStatus, ScaleStatus
from canary.model.workloads import DEPLOYMENT

MOST_SAID = 512
"""Characters of a message about a run, which others are built of."""

LARGEST_COUNT = 64

M = TypeVar("M", bound=ApiModel)


def _evolved(value: M, /, **changes: Any) -> M:
    """The same value with some fields changed, validated. Raises ValidationError: what is changed here is bounded before."""
    for name, new in changes.items():
        if getattr(value, name) != new:
            return type(value)(**{**value.__dict__, **changes})
    return value


def _later(at: datetime | None, by: timedelta) -> datetime | None:
    return at + by if at is not None else None


def by_now(value: M, now: datetime, *names: str) -> M:
    """The same, with none of these times later than now: what has been, was."""
    late = {name: now for name in names if (at := getattr(value, name)) is not None and at > now}
    return _evolved(value, **late) if late else value


# -- the run --------------------------------------------------------------------------------------------------------


def ended(
    run: RunStatus, outcome: Outcome, reason: str, message: str, at: datetime, *, swap: bool = False
) -> RunStatus:
    """Its outcome is decided. `swap`: it was won by Swap, and its end leaves all traffic where it is.

    Once it is won, what it has copied is stable's own.
    """
    copied = None if outcome is Outcome.SUCCEEDED else run.copied
    said = {"reason": reason[:64], "message": message[:MOST_SAID]}
    return _evolved(run, outcome=outcome, **said, ended_at=at, swap=swap, copied=copied)


def reckoned_anew(run: RunStatus, revision: str) -> RunStatus:
    """It is about the same as before, whose revision is another one now."""
    return _evolved(run, revision=revision)


def pod_spec_seen(run: RunStatus, pod_spec: str) -> RunStatus:
    """The pod spec that belongs to its revision, apart from what that includes."""
    return _evolved(run, pod_spec=pod_spec)


def told(run: RunStatus, message: str) -> RunStatus:
    """What people read of how it ended."""
    return _evolved(run, message=message[:MOST_SAID])


def won_without_swap(run: RunStatus) -> RunStatus:
    """It has not been won by Swap after all."""
    return _evolved(run, swap=False, message="the canary had not all traffic any more, so the two keep their roles")


def given_traffic(run: RunStatus, since: datetime) -> RunStatus:
    """Its canary has had a share since then."""
    return _evolved(run, traffic_since=since)


def hurried(run: RunStatus, step: int, *, ignore_unknown: bool) -> RunStatus:
    """Somebody asked to skip the holds and approvals that are left (promote-full): those from this step on."""
    return _evolved(run, full=True, full_at=step, ignore_unknown=ignore_unknown)


def unhurried(run: RunStatus) -> RunStatus:
    """Nobody has asked to skip anything after all."""
    return _evolved(run, full=False, full_at=None, ignore_unknown=False)


def unavailable(run: RunStatus, since: datetime) -> RunStatus:
    """Its canary has had no ready endpoint since then: one outage more."""
    return _evolved(run, unavailable_since=since, outages=min(run.outages + 1, LARGEST_COUNT))


def available(run: RunStatus) -> RunStatus:
    """Its canary may have weight again."""
    return _evolved(run, unavailable_since=None)


def unseen(run: RunStatus, by: timedelta) -> RunStatus:
    """Nothing could be seen for so long: it counts against no canary that is unavailable."""
    return _evolved(run, unavailable_since=_later(run.unavailable_since, by))


def on_terms(run: RunStatus, terms: TermsStatus) -> RunStatus:
    """What is declared besides its plan."""
    return _evolved(run, terms=terms)


def reckoned(run: RunStatus, started_at: datetime) -> RunStatus:
    """It began then, as people know it; its time counts from when it is said to have begun here."""
    later = run.counts_from if run.counts_from > started_at else None
    return _evolved(run, started_at=started_at, reckoned_since=later)


def replacing(run: RunStatus, revision: str) -> RunStatus:
    """A Copy of it may replace this revision of the stable workload, from now on: what was copied before counts no more."""
    return _evolved(run, replaces=revision, copied=None)


def copying(run: RunStatus, kind: str, workload: str, replaced: str, *, kept: str = "") -> RunStatus:
    """It is about to copy over a workload that has the revision `replaced`; or has, and `kept` is what the workload has since."""
    return _evolved(run, copied=CopyStatus(kind=kind, workload=workload, replaced=replaced, kept=kept))


def copy_kept(run: RunStatus, revision: str) -> RunStatus:
    """It has copied, and this is the revision that the workload has since."""
    return run if run.copied is None else _evolved(run, copied=_evolved(run.copied, kept=revision))


def copy_lost(run: RunStatus) -> RunStatus:
    """What its Copy replaced is nowhere to be found."""
    return run if run.copied is None else _evolved(run, copied=_evolved(run.copied, lost=True))


def copy_over(run: RunStatus) -> RunStatus:
    """What it has copied stands nowhere any more."""
    return _evolved(run, copied=None)


# -- the step -------------------------------------------------------------------------------------------------------


def at_step(
    index: int, total: int, now: datetime, *, unaccepted_since: datetime | None = None, approved: bool = False
) -> StepStatus:
    """A step that is entered: nothing of the one before is left. Index 0 is the preflight."""
    return StepStatus(
        index=index,
        total=total,
        display=f"{index}/{total}",
        started_at=now,
        unaccepted_since=unaccepted_since,
        approved=approved,
    )


def unaccepted(step: StepStatus, since: datetime) -> StepStatus:
    """Some gateway has not accepted a route since then; acceptTimeout counts from it."""
    return _evolved(step, unaccepted_since=since)


def accepted(step: StepStatus) -> StepStatus:
    """Every gateway has accepted every route."""
    return _evolved(step, unaccepted_since=None)


def reached(step: StepStatus, at: datetime, hold: timedelta, settle: timedelta) -> StepStatus:
    """Every gateway had accepted its weight at a time: its hold begins, and `settle` later what is measured counts."""
    return _evolved(step, reached_at=at, settled_at=at + settle, hold_until=at + hold)


def unreached(step: StepStatus, now: datetime) -> StepStatus:
    """Its weight is none that a route has: what was held and settled counts no more. For acceptance it may be waited already."""
    return at_step(
        step.index, step.total, step.started_at, unaccepted_since=step.unaccepted_since or now, approved=step.approved
    )


def accepted_again(step: StepStatus, at: datetime, hold: timedelta, settle: timedelta) -> StepStatus:
    """A weight that was reached is accepted again. Its hold is longer by all the time in which it was not, and what is measured counts `settle` later."""
    since, reached_at = step.unaccepted_since or at, step.reached_at or at
    return _evolved(step, unaccepted_since=None, settled_at=at + settle, hold_until=reached_at + hold + (at - since))


def unaccepted_again(step: StepStatus, at: datetime, hold: timedelta, *, forgiven: bool) -> StepStatus:
    """A weight that was reached is not accepted any more. What was lost of its hold before counts for acceptTimeout, too, unless that is `forgiven`."""
    if step.reached_at is None or step.hold_until is None:
        return unaccepted(step, at)
    lost = max(step.hold_until - step.reached_at - hold, timedelta(0))
    if forgiven:
        return _evolved(step, unaccepted_since=at, reached_at=step.reached_at + lost)
    return _evolved(step, unaccepted_since=at - lost)


def settled_by(step: StepStatus, at: datetime) -> StepStatus:
    """What is measured counts from then on."""
    return _evolved(step, settled_at=at)


def held_until(step: StepStatus, until: datetime) -> StepStatus:
    """Its hold is over then."""
    return _evolved(step, hold_until=until)


def postponed(step: StepStatus, by: timedelta) -> StepStatus:
    """Nothing could be seen for so long: it counts neither against acceptance nor for the hold."""
    return _evolved(
        step,
        reached_at=_later(step.reached_at, by),
        settled_at=_later(step.settled_at, by),
        hold_until=_later(step.hold_until, by),
        unaccepted_since=_later(step.unaccepted_since, by),
        gate=None if step.gate is None else _evolved(step.gate, since=step.gate.since + by),
    )


def concluded(step: StepStatus) -> StepStatus:
    """Its run is won: no column shows a step of it any more."""
    return _evolved(step, display="")


def approved(step: StepStatus) -> StepStatus:
    """A person said that the next one may begin. What its gate said before counts no more: that may be long ago."""
    return _evolved(step, approved=True, gate=None)


def used_up(step: StepStatus) -> StepStatus:
    """The last step is left, by what was said of it. Whether stable is up to date is another question."""
    return _evolved(step, approved=False)


def gate_waited_for(step: StepStatus, since: datetime) -> StepStatus:
    """It is waited for its gate to say yes, since then."""
    gate = GateStatus(since=since) if step.gate is None else _evolved(step.gate, since=since)
    return _evolved(step, gate=gate)


def gate_heard(step: StepStatus, answer: GateAnswer, reason: str, message: str, at: datetime) -> StepStatus:
    """What its gate said when it was asked at a time. A yes is what is waited for, so the wait begins anew with it."""
    before = step.gate or GateStatus(since=at)
    since = at if answer is GateAnswer.YES else before.since
    said = _evolved(before, since=since, answer=answer, reason=reason[:64], message=message[:MOST_SAID], asked_at=at)
    return _evolved(step, gate=said)


# -- checks and routes ----------------------------------------------------------------------------------------------


def forgiven(check: CheckStatus) -> CheckStatus:
    """Failures and silence from before a person said to go on count no more, nor does the evidence that proved a failure."""
    if check.verdict is VerdictKind.FAIL:
        return _evolved(check, failures=0, recent="", unknown_since=None, evidence=None)
    return _evolved(check, failures=0, recent="", unknown_since=None)


def edited(check: CheckStatus, definition: str) -> CheckStatus:
    """It asks, or judges by, something else now: what passed before has not passed. What was counted against the canary stays."""
    if check.verdict is not VerdictKind.PASS or not check.applicable:
        return _evolved(check, definition=definition)
    return _evolved(
        check,
        definition=definition,
        verdict=VerdictKind.UNKNOWN,
        reason="NotMeasured",
        message="edited, and not measured since",
        value=None,
        measured_at=None,
        unknown_since=None,
    )


def lost(check: CheckStatus, reason: str, message: str, at: datetime) -> CheckStatus:
    """Nobody can tell what it asks any more: it is Unknown. What was counted stays, for when somebody can."""
    return _evolved(
        check,
        verdict=VerdictKind.UNKNOWN,
        reason=reason[:64],
        message=message[:MOST_SAID],
        value=None,
        unknown_since=check.unknown_since or at,
    )


def unreadable(check: CheckStatus, message: str) -> CheckStatus:
    """What it asks is declared in a spec that nobody can read: it is Unknown. What was counted stays; its holdLimit begins when it can be read."""
    return _evolved(
        check,
        verdict=VerdictKind.UNKNOWN,
        reason="CheckUnreadable",
        message=message[:MOST_SAID],
        value=None,
        unknown_since=None,
    )


def excused(check: CheckStatus, by: timedelta) -> CheckStatus:
    """Nobody could be asked, or nothing be seen, for so long: its holdLimit does not run meanwhile."""
    return _evolved(check, unknown_since=_later(check.unknown_since, by))


def queued(check: CheckStatus, reason: str, message: str, waited: timedelta) -> CheckStatus:
    """Our own queue took its query too long: nothing is known, and its holdLimit did not run meanwhile."""
    return _evolved(
        excused(check, waited), verdict=VerdictKind.UNKNOWN, reason=reason[:64], message=message[:1024], value=None
    )


def routes_moved(evidence: EvidenceStatus, about: str, now: datetime, state: str | None = None) -> EvidenceStatus:
    """The routes say something else since now (empty: nobody can tell what); `state` is what is known without what was open."""
    since = now if about else None
    if about == evidence.about:
        return evidence
    return _evolved(evidence, about=about, since=since, state=evidence.state if state is None else state)


def evidence_gathered(evidence: EvidenceStatus, state: str) -> EvidenceStatus:
    """After one more look this is known."""
    return _evolved(evidence, state=state, looks=min(evidence.looks + 1, MAX_RUNS))


def raised_in(route: RouteStatus, generation: int) -> RouteStatus:
    """The generation of a route in which somebody last raised the canary's share."""
    return _evolved(route, overridden=generation)


# -- the rest --------------------------------------------------------------------------------------------------------


def resumed_over(route: RouteStatus, left: Mapping[str, float]) -> RouteStatus:
    """What somebody has left of shares (percent, by rule), now that the run is resumed over that."""
    return _evolved(route, resumed=dict(left))


def route_seen(
    route: RouteStatus,
    *,
    generation: int,
    about: str,
    since: int,
    accepted: bool,
    message: str,
    share: float | None,
    shares: Mapping[str, float],
    lowered: Mapping[str, float],
    resumed: Mapping[str, float],
    altered: int,
    owned: bool,
    pair: str,
    baseline: Mapping[str, str],
    rules: Mapping[str, str],
    mirrors: Mapping[str, str],
    added: Mapping[str, str],
    places: Mapping[str, str],
) -> RouteStatus:
    """A route as it is now, and what is to be put back there."""
    return _evolved(
        route,
        generation=generation,
        about=about,
        about_since=since,
        accepted=accepted,
        message=message[:1024],
        share=share,
        shares=dict(shares),
        lowered=dict(lowered),
        resumed=dict(resumed),
        altered=altered,
        owned=owned,
        pair=pair,
        baseline=dict(baseline),
        rules=dict(rules),
        mirrors=dict(mirrors),
        added=dict(added),
        places=dict(places),
    )


def remembered_by(route: RouteStatus, keys: Mapping[str, str]) -> RouteStatus:
    """What is remembered of its rules goes by other keys (`keys`: those that have changed)."""
    if not keys:
        return route
    rekeyed = {
        name: {keys.get(key, key): said for key, said in getattr(route, name).items()}
        for name in ("baseline", "rules", "mirrors", "shares", "lowered", "resumed")
    }
    return _evolved(route, **rekeyed)


def split_seen(split: SplitStatus, *, desired: float, written: float, accepted: float) -> SplitStatus:
    """The canary's shares in percent, as they are now."""
    return _evolved(split, desired=desired, written=written, accepted=accepted)


def share_observed(split: SplitStatus, percent: float | None) -> SplitStatus:
    """What the canary really gets, in percent; None: nobody measures it now."""
    return _evolved(split, observed=percent)


def revisions_seen(revisions: RevisionsStatus, *, stable: str | None, canary: str | None) -> RevisionsStatus:
    """What the workloads run now; None where there is none."""
    return _evolved(revisions, stable=stable, canary=canary)


def exchanged(revisions: RevisionsStatus) -> RevisionsStatus:
    """The two workloads change roles, and take their revisions along."""
    return _evolved(revisions, stable=revisions.canary, canary=revisions.stable)


def settled(revisions: RevisionsStatus, revision: str | None) -> RevisionsStatus:
    """A revision of the canary workload needs no run any more."""
    return _evolved(revisions, settled=revision)


def failed(revisions: RevisionsStatus, revision: str) -> RevisionsStatus:
    """The run of a revision was rolled back: it has failed, until another one succeeds or somebody asks for it."""
    others = tuple(other for other in revisions.failed if other != revision)
    return _evolved(revisions, failed=(*others, revision)[-MOST_FAILED:]) if revision else revisions


def tried(revisions: RevisionsStatus, revision: str) -> RevisionsStatus:
    """A run of a revision begins: whether it fails is seen anew, and nothing is set aside any more."""
    return _evolved(revisions, failed=tuple(other for other in revisions.failed if other != revision), aside=None)


def set_aside(revisions: RevisionsStatus, revision: str) -> RevisionsStatus:
    """An abort was about a revision that was not tried yet: no run of it begins by itself."""
    return _evolved(revisions, aside=revision)


def none_failed(revisions: RevisionsStatus) -> RevisionsStatus:
    """One has succeeded: what others failed of may be gone."""
    return _evolved(revisions, failed=())


def called_otherwise(revisions: RevisionsStatus, revision: str, now: str) -> RevisionsStatus:
    """A revision is another one now, of the same as before."""
    renamed = tuple(now if other == revision else other for other in revisions.failed)
    return _evolved(
        revisions,
        settled=now if revisions.settled == revision else revisions.settled,
        aside=now if revisions.aside == revision else revisions.aside,
        failed=tuple(dict.fromkeys(renamed)),
    )


# -- what people asked for, and what waits for them -----------------------------------------------------------------


def pause_since(since: datetime, reason: str, message: str) -> PauseStatus:
    """A pause that begins."""
    return PauseStatus(reason=reason, message=message[:MOST_SAID], since=since)


def taken_away(request: RequestStatus) -> RequestStatus:
    """Its annotation is gone."""
    return _evolved(request, removed=True)


def answered(request: Request, at: datetime, outcome: RequestOutcome, message: str) -> RequestStatus:
    """A request, and what came of it."""
    return RequestStatus(
        id=request.id,
        verb=request.verb,
        by=request.by,
        reason=request.reason,
        at=at,
        outcome=outcome,
        message=message[:1024],
    )


# -- replicas of the canary ------------------------------------------------------------------------------------------


def scale_began(kind: str, workload: str, stable: int) -> ScaleStatus:
    """A run begins that looks after the replicas of a workload; `stable` is what the stable one has."""
    return ScaleStatus(kind=kind, workload=workload, stable=min(stable, MOST_REPLICAS))


def replicas_seen(scale: ScaleStatus, *, stable: int, canary: int) -> ScaleStatus:
    """So many replicas are wanted of both now: the most of each counts."""
    most = max(scale.stable, min(stable, MOST_REPLICAS)), max(scale.reached, min(canary, MOST_REPLICAS))
    return scale if most == (scale.stable, scale.reached) else _evolved(scale, stable=most[0], reached=most[1])


def replicas_meant(scale: ScaleStatus, replicas: int) -> ScaleStatus:
    """The canary is to be given so many, once that is on record."""
    return _evolved(scale, giving=replicas)


def replicas_of_before(scale: ScaleStatus, before: ScaleStatus | FormerCanaryStatus) -> ScaleStatus:
    """The same workload was given replicas before these books began: they are still ours."""
    return _evolved(scale, given=before.given, giving=before.giving)


def replicas_given(scale: ScaleStatus, replicas: int) -> ScaleStatus:
    """The canary is given so many."""
    return _evolved(scale, given=replicas)


def too_small(scale: ScaleStatus, needed: int, since: datetime) -> ScaleStatus:
    """The next share waits for so many ready replicas, from now on or already."""
    return _evolved(scale, needed=needed, short_since=since if scale.short_since is None else scale.short_since)


def large_enough(scale: ScaleStatus) -> ScaleStatus:
    """Nothing waits for replicas, or it waits for something else first."""
    return _evolved(scale, needed=0, short_since=None)


def replicas_forgiven(scale: ScaleStatus) -> ScaleStatus:
    """A person said to go on: what somebody took away may be given once more."""
    return _evolved(scale, reached=0, needed=0, short_since=None)


def replicas_unseen(scale: ScaleStatus, by: timedelta) -> ScaleStatus:
    """Nothing could be seen for so long: it counts against no canary that is too small."""
    return _evolved(scale, short_since=_later(scale.short_since, by))


def drained(scale: ScaleStatus, since: datetime | None) -> ScaleStatus:
    """The run is over, and the canary has had no traffic since then (None: it has some, or nobody can tell)."""
    return _evolved(scale, needed=0, short_since=None, drained_since=since)


def parted(former: tuple[FormerCanaryStatus, ...], scale: ScaleStatus) -> tuple[FormerCanaryStatus, ...]:
    """The workload of these books is the canary no more. One of which no kind is on record is a Deployment: an earlier version knew no other."""
    fresh = FormerCanaryStatus(
        kind=scale.kind or DEPLOYMENT,
        name=scale.workload,
        given=scale.given,
        giving=scale.giving,
        drained_since=scale.drained_since,
    )
    others = tuple(each for each in former if (each.kind, each.name) != (fresh.kind, fresh.name))
    return (*others, fresh)[-MOST_FORMER:]


def scale_resumed(former: FormerCanaryStatus) -> ScaleStatus:
    """A workload that was the canary before is it again: what it was given is what it has been given so far."""
    return replicas_of_before(
        _evolved(scale_began(former.kind, former.name, 0), drained_since=former.drained_since), former
    )


def former_drained(former: FormerCanaryStatus, since: datetime | None) -> FormerCanaryStatus:
    """It has had no traffic since then (None: it has some, or nobody can tell)."""
    return _evolved(former, drained_since=since)


# -- what was counted ------------------------------------------------------------------------------------------------


def count_began(traffic: TrafficStatus, about: str, at: datetime) -> TrafficStatus:
    """The routes say something else: nothing is counted of that yet. What the canary gets without them is still known."""
    return TrafficStatus(about=about, since=at, background=traffic.background)


def counters_unread(traffic: TrafficStatus, reason: str, message: str) -> TrafficStatus:
    """The counters could not be read; what was counted before stays."""
    return _evolved(traffic, reason=reason[:64], message=message[:1024])


def counted_on(traffic: TrafficStatus, counts: Counts, *, idle: bool) -> TrafficStatus:
    """The counters were read. `idle`: the routes send nothing to the canary, so what it gets comes from elsewhere."""
    if traffic.read_at is not None and counts.at <= traffic.read_at:
        return traffic
    read = {
        "read_at": counts.at,
        "canary": counts.canary,
        "stable": counts.stable,
        "peak_canary": max(traffic.peak_canary, counts.canary),
        "peak_stable": max(traffic.peak_stable, counts.stable),
        "reason": "",
        "message": "",
    }
    canary, stable = counts.canary - traffic.canary, counts.stable - traffic.stable
    # One that fell and is above its peak again had lost some of its series for a while, as far as anybody knows.
    back = (
        traffic.canary < traffic.peak_canary <= counts.canary or traffic.stable < traffic.peak_stable <= counts.stable
    )
    if traffic.read_at is None or canary < 0 or stable < 0 or back:
        return _evolved(traffic, **read)
    more = {
        "counted_canary": min(traffic.counted_canary + canary, MOST_COUNTED),
        "counted_stable": min(traffic.counted_stable + stable, MOST_COUNTED),
        "seconds": min(traffic.seconds + (counts.at - traffic.read_at).total_seconds(), MOST_COUNTED),
    }
    rate = min(more["counted_canary"] / more["seconds"], MOST_COUNTED) if idle else traffic.background
    return _evolved(traffic, **read, **more, background=rate)
